// Memory of this process and machine, from the operating system. Any thread.
#pragma once

#include <cstdint>

namespace railccl::perftest {

// Bytes resident now; 0 if the system does not say.
int64_t resident_bytes();
// Bytes of memory that the machine has.
uint64_t machine_bytes();

}  // namespace railccl::perftest
