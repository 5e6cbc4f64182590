// The command line of fabric_check. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "perftest/common/outcome.h"

namespace railccl::perftest::fabric {

struct Options {
  double seconds = 0.25;   // of each way of each pair on each rail
  int rounds = 0;          // of the tournament; 0: all
  std::string thresholds;  // file; empty: siblings only
  std::string html_file;   // empty: none
  std::string json_file;   // empty: none
  bool quiet = false;
  double time_limit_s = 0;  // 0: none
  double answer_s = 15;
  bool collectives = true;
  bool drill = true;
  std::string sysfs_root = "/";
  int local_ranks = 0;
  int virtual_nodes = 0;
};

struct ParsedOptions {
  Options options;
  std::optional<std::string> help;  // asked for with -h
};
Outcome<ParsedOptions> parse_options(const std::vector<std::string>& arguments);

}  // namespace railccl::perftest::fabric
