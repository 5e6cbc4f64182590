// The results of a workload's operations from its inputs alone: exact where the arithmetic is
// exact, close where it rounds. Independent of schedules and of the library's reductions.
#pragma once

#include <string>

#include "tests/simulate/sim_rank.h"

namespace railccl::simulate {

// Empty: right. Otherwise the first element that is wrong.
std::string check_results(const Script& script);

}  // namespace railccl::simulate
