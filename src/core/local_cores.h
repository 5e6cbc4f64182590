// On which cores this process may run, and how much of them it is given. Any thread; slow.
#pragma once

#include <array>
#include <cstdint>

namespace railccl {

// One bit per core; cores from 1024 on are left out.
using CoreMask = std::array<uint64_t, 16>;

// The affinity of the calling thread.
CoreMask current_cores();
int count_cores(const CoreMask& cores);

// Cores' worth of time that the control group grants, rounded up; 0: no limit, or not known.
int granted_cores();

}  // namespace railccl
