// main() of the *_perf programs.
#pragma once

#include "perftest/common/collective.h"

namespace railccl::perftest {

// Parses, then starts rank processes (--local) or is one. Returns the exit code.
int perf_main(const Collective& collective, int argc, char** argv);

}  // namespace railccl::perftest
