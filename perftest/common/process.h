// All that a rank process does once it runs: join the others, make its ranks, run the sweep on a
// thread for each, say the result. The main thread only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "perftest/common/collective.h"
#include "perftest/common/gpu.h"
#include "perftest/common/options.h"
#include "perftest/common/outcome.h"

namespace railccl::perftest {

struct ProgramCall {
  std::string program;                 // name, for the output
  std::vector<std::string> arguments;  // as given, with the program, for the JSON file
  std::optional<Gpus> gpus;            // where options.gpu_memory
};

// The exit code; errors have been written to standard error.
Exit run_process(const Collective& collective, const Options& options, const ProgramCall& call);

}  // namespace railccl::perftest
