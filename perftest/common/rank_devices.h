// Which rank is where: host, process, and the device that its buffers are on.
#pragma once

#include <vector>

#include "perftest/common/crew.h"
#include "perftest/common/result.h"

namespace railccl::perftest {

// This process's part of a RankDevice: its id and host, memory of the host.
RankDevice host_device();

// Every rank's, by rank; the same on all ranks. Called by all ranks' threads at the same time.
Outcome<std::vector<RankDevice>> gather_devices(Crew& crew, int thread, const RankDevice& mine);

// How many processes of this machine come before this one. Called by all processes at the same
// time.
Outcome<int> local_process(const Processes& processes);

}  // namespace railccl::perftest
