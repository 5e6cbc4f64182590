// What each rank's rails carried, brought together. Called by all ranks' threads at the same time.
#pragma once

#include <vector>

#include "perftest/common/crew.h"
#include "perftest/common/result.h"

namespace railccl::perftest {

// Every rank's rails, by rank; the same on all ranks.
Outcome<std::vector<RankRails>> gather_rails(Crew& crew, int thread, ncclComm_t comm);

}  // namespace railccl::perftest
