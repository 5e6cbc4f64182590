// Runs calls, so that what they took stands beside what was predicted (railccl_explain --measure).
#pragma once

#include <vector>

#include "perftest/common/library.h"

namespace railccl::perftest {

// All ranks alike. Each call once to warm up and some times more; buffers are made for it.
Outcome<void> measure_calls(ncclComm_t comm, int ranks, const std::vector<railcclCall_t>& calls);

// What is measured when no call was asked for: AllReduce from 64 KiB to 16 MiB.
std::vector<railcclCall_t> usual_calls();

}  // namespace railccl::perftest
