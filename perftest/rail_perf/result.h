// What rail_perf found out, as values; the table and the JSON file are made from it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "perftest/common/iteration_stats.h"

namespace railccl::perftest::railperf {

struct RailSide {
  std::string name;
  std::string transport;
  std::string address;
  uint64_t bytes_per_second = 0;  // of the port; 0: unknown
};

struct NodeSide {
  int node = 0;
  int rank = 0;
  std::string host;
  std::vector<RailSide> rails;  // by rail index
};

// Two rails that talk to each other: their indices at the first and at the second node.
struct RailPair {
  int first = 0;
  int second = 0;
};

// One way of a measurement of bandwidth.
struct Stream {
  uint64_t bytes_per_put = 0;
  uint64_t puts = 0;
  double seconds = 0;  // from the first put until the last was acknowledged
  double peak_puts_per_second = 0;
  uint64_t bytes() const { return puts * bytes_per_put; }
  double bytes_per_second() const {
    return seconds > 0 ? static_cast<double>(bytes()) / seconds : 0;
  }
  double peak_bytes_per_second() const {
    return peak_puts_per_second * static_cast<double>(bytes_per_put);
  }
  double puts_per_second() const { return seconds > 0 ? static_cast<double>(puts) / seconds : 0; }
};

struct BandwidthResult {
  uint64_t bytes = 0;
  std::optional<Stream> one_way;
  // Both at the same time: from the first node, from the second one.
  std::optional<std::array<Stream, 2>> both_ways;
  std::vector<uint64_t> rail_bytes;  // of one_way, by pair of the link

  double both_ways_bytes_per_second() const {
    if (!both_ways) return 0;
    const auto& [out, in] = *both_ways;
    const double seconds = out.seconds > in.seconds ? out.seconds : in.seconds;
    return seconds > 0 ? static_cast<double>(out.bytes() + in.bytes()) / seconds : 0;
  }
};

struct LatencyResult {
  uint64_t bytes = 0;
  uint64_t round_trips = 0;
  IterationStats half_us;  // of the round trips' halves
};

struct RateResult {
  uint64_t bytes = 0;
  uint64_t window = 0;
  Stream puts;
  uint64_t messages = 0;
  double message_seconds = 0;
  double messages_per_second() const {
    return message_seconds > 0 ? static_cast<double>(messages) / message_seconds : 0;
  }
};

struct CheckResult {
  uint64_t bytes = 0;         // compared, at both nodes
  uint64_t wrong = 0;         // of them
  std::string first_mistake;  // where it was
};

// What the link says of one of its rails, at the end, at the first node.
struct LinkRail {
  std::string state;
  uint64_t bytes_sent = 0;
  uint32_t failures = 0;
  uint32_t recoveries = 0;
  uint64_t replayed_bytes = 0;
  std::string last_error;
};

// One rail alone, or all together.
struct LinkResult {
  std::string name;           // "rail 0", "all rails"
  std::vector<size_t> pairs;  // positions in Report::pairs
  bool connected = false;
  std::string error;  // empty: none
  CheckResult check;
  std::vector<BandwidthResult> bandwidth;
  std::vector<LatencyResult> latency;
  std::vector<RateResult> rate;
  std::vector<LinkRail> rails;  // by position in `pairs`

  bool together() const { return pairs.size() > 1; }
  bool measured() const { return !bandwidth.empty() || !latency.empty() || !rate.empty(); }
};

struct Report {
  std::array<NodeSide, 2> nodes;
  int other_ranks = 0;  // that only waited
  std::vector<RailPair> pairs;
  std::vector<std::string> unpaired;  // rails that no rail of the other node talks to
  std::string settings;
  std::vector<LinkResult> links;
  std::string error;  // that ended the run; empty: none

  bool any_wrong() const {
    for (const LinkResult& link : links) {
      if (link.check.wrong > 0) return true;
    }
    return false;
  }
  bool any_failed() const {
    for (const LinkResult& link : links) {
      if (!link.error.empty()) return true;
    }
    return !unpaired.empty() || !error.empty();
  }
};

}  // namespace railccl::perftest::railperf
