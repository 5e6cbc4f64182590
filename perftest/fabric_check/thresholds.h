// What a fabric must reach, from a JSON file (docs/fabric-validation.md), or the defaults. Pure but
// for reading the file.
//
//   {"format": "railccl-fabric-thresholds-1",
//    "tolerance": 0.25,                       below its siblings, where no minimum is given
//    "rails": {"0": {"min_gbps": 90, "max_latency_us": 20}, "*": {"min_gbps": 45}},
//    "all_rails": {"min_gbps": 130},
//    "all_at_once": {"min_share": 0.8},       of what the nodes reach one by one
//    "drill": {"max_stall_ms": 3000},
//    "counters": {"symbol_error": 0}}         the most by which it may grow
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "perftest/common/outcome.h"

namespace railccl::perftest::fabric {

struct RailThresholds {
  std::optional<double> min_gbps;
  std::optional<double> max_latency_us;
};

struct Thresholds {
  double tolerance = 0.25;
  std::map<int, RailThresholds> rails;
  RailThresholds other_rails;  // "*"
  std::optional<double> all_rails_min_gbps;
  std::optional<double> all_at_once_min_share;
  double drill_max_stall_ms = 5000;
  std::map<std::string, uint64_t> counters;

  const RailThresholds& of_rail(int rail) const;
};

// `source` names the text in errors.
Outcome<Thresholds> parse_thresholds(std::string_view text, std::string_view source);
Outcome<Thresholds> read_thresholds(const std::string& path);

}  // namespace railccl::perftest::fabric
