// The metrics of a process in Prometheus' text format, as node_exporter's textfile collector reads
// it. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/core/operation_stats.h"
#include "transport/link.h"

namespace railccl {

struct CommMetrics {
  std::string name;
  uint64_t id = 0;  // public_hash
  int rank = 0;
  int ranks = 0;
  bool failed = false;
  std::vector<std::pair<Collective, OperationTotals>> operations;  // that occurred
  std::vector<PredictedTotals> predicted;
  struct Rail {
    std::string name;
    std::string transport;
    LinkRailStats stats;
  };
  std::vector<Rail> rails;
};

std::string metrics_as_text(std::span<const CommMetrics> communicators);

}  // namespace railccl
