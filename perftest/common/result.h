// What a run finds out, as data: the measuring side fills it, table and JSON file show it.
#pragma once

#include <railccl/railccl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "perftest/common/iteration_stats.h"

namespace railccl::perftest {

// One size, one placement (out of place or in place), over all ranks.
struct PlacementResult {
  double time_us = 0;              // as -a and -C say
  double algorithm_bandwidth = 0;  // 1e9 bytes per second
  double bus_bandwidth = 0;
  std::optional<uint64_t> wrong;  // elements, summed over ranks; none: not checked
  // The slowest rank's time of each iteration; empty where single iterations have no end of their
  // own (asynchronous stream without -I).
  std::vector<double> iteration_us;
  std::vector<std::vector<double>> process_iteration_us;  // -I: by process, its slowest thread
};

struct SizeResult {
  uint64_t bytes = 0;
  uint64_t count = 0;
  std::string type;
  std::string op;  // "none" where nothing is reduced
  int root = -1;
  uint64_t iterations = 0;
  PlacementResult out_of_place;
  PlacementResult in_place;
};

struct RankDevice {
  int rank = 0;
  int process_id = 0;
  std::string host;
  int device = 0;
  std::string bus = "0000:00:00";
  std::string name = "host memory";
};

struct RankRails {
  int rank = 0;
  std::vector<railcclRailStats_t> rails;
};

struct MemoryUse {
  int64_t initialization = 0;  // bytes, of the process that used most
  int64_t buffers = 0;
  int64_t collectives = 0;
};

struct Summary {
  uint64_t failed_measurements = 0;  // with at least one wrong element
  double mean_bus_bandwidth = 0;
  std::optional<double> wanted_bus_bandwidth;  // NCCL_TESTS_MIN_BW
  std::string error;                           // the library's last

  bool bandwidth_is_fine() const {
    return !wanted_bus_bandwidth || mean_bus_bandwidth >= 0.9 * *wanted_bus_bandwidth;
  }
};

}  // namespace railccl::perftest
