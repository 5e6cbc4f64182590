// One rank of rail_perf, from its start to its exit code. The main thread.
#pragma once

#include <string>
#include <vector>

#include "perftest/common/outcome.h"
#include "perftest/rail_perf/options.h"

namespace railccl::perftest::railperf {

// `arguments` with the program's name, for the JSON file. Errors have been written to standard
// error.
int run_node(const RailPerfOptions& options, const std::vector<std::string>& arguments);

}  // namespace railccl::perftest::railperf
