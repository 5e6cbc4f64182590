// The command line of rail_perf: perftest's letters (ib_write_bw, ib_write_lat) where it has them.
// Pure: parsing touches nothing but the arguments.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "perftest/common/outcome.h"
#include "perftest/common/sizes.h"

namespace railccl::perftest::railperf {

// The measurements of each size; at least one.
struct Measurements {
  bool bandwidth = false;      // one way
  bool bidirectional = false;  // both ways at the same time
  bool latency = false;
  bool rate = false;
};

// Rails alone, or together, or both; `names` empty: all rails.
struct RailChoice {
  bool each = true;
  bool together = true;
  std::vector<std::string> names;
};

struct RailPerfOptions {
  SizeRange sizes;
  uint64_t iterations = 0;  // per size; 0: `seconds` decides
  double seconds = 0.3;
  uint64_t warmup = 50;
  int window = 0;  // puts outstanding; 0: by size
  Measurements measure;
  RailChoice rails;
  std::vector<std::string> pair;  // two nodes, by number or host name; empty: the first two
  std::string poll;               // RAILCCL_POLL; empty: as set
  std::string json_file;
  int local_ranks = 0;    // --local; 0: this process is started by something else
  int virtual_nodes = 0;  // --virtual-nodes; 0: not given
};

struct ParsedOptions {
  RailPerfOptions options;
  std::optional<std::string> help;  // asked for with -h
};
// Or what is wrong (Exit::kUsage).
Outcome<ParsedOptions> parse_options(const std::vector<std::string>& arguments);

// Puts of so many bytes that are outstanding in a measurement of bandwidth.
uint64_t window_of(const RailPerfOptions& options, uint64_t bytes);
// The largest amount of data outstanding over all sizes.
uint64_t area_bytes(const RailPerfOptions& options);

}  // namespace railccl::perftest::railperf
