// Fabrics for tests: all ways of a rail alike, and then what is wrong with them.
#pragma once

#include <fmt/format.h>

#include <vector>

#include "perftest/fabric_check/fabric.h"

namespace railccl::perftest::fabric {

inline void set_way(Matrix& matrix, int from, int to, double gbps) {
  if (from == to) return;
  matrix.at(from, to) = {.state = PairState::kMeasured, .gbps = gbps, .latency_us = 10};
}

inline void cut_way(Matrix& matrix, int from, int to) {
  if (from != to) matrix.at(from, to) = {.state = PairState::kUnreachable, .error = "down"};
}

inline Fabric make_fabric(int nodes, const std::vector<double>& rail_gbps) {
  Fabric fabric;
  for (int node = 0; node < nodes; ++node) {
    Node made{.name = fmt::format("n{}", node), .ranks = {node}, .rails = {}};
    for (size_t rail = 0; rail < rail_gbps.size(); ++rail) {
      made.rails.push_back({.name = fmt::format("eth{}", rail),
                            .transport = "tcp",
                            .address = fmt::format("10.{}.0.{}", rail + 1, node + 1),
                            .subnet = fmt::format("10.{}.0.0/24", rail + 1)});
    }
    fabric.nodes.push_back(std::move(made));
  }
  double sum = 0;
  fabric.all_rails = Matrix(static_cast<size_t>(nodes));
  for (const double gbps : rail_gbps) sum += gbps;
  for (size_t rail = 0; rail <= rail_gbps.size(); ++rail) {
    if (rail < rail_gbps.size()) fabric.rails.emplace_back(static_cast<size_t>(nodes));
    Matrix& matrix = rail < rail_gbps.size() ? fabric.rails.back() : fabric.all_rails;
    for (int from = 0; from < nodes; ++from) {
      for (int to = 0; to < nodes; ++to) {
        // Real values differ a little.
        const double noise = 1 - 0.01 * ((from * 7 + to * 3) % 5);
        set_way(matrix, from, to, (rail < rail_gbps.size() ? rail_gbps[rail] : sum) * noise);
      }
    }
  }
  return fabric;
}

}  // namespace railccl::perftest::fabric
