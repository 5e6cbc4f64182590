// rail_perf's JSON document. Pure.
#pragma once

#include <nlohmann/json.hpp>

#include "perftest/rail_perf/options.h"
#include "perftest/rail_perf/result.h"

namespace railccl::perftest::railperf {

nlohmann::ordered_json document(const Report& report, const RailPerfOptions& options);

}  // namespace railccl::perftest::railperf
