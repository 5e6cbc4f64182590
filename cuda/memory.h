// Memory of the GPU that the calling thread has chosen (ncclMemAlloc). Any thread.
#pragma once

#include <cstddef>

#include "src/base/status.h"

namespace railccl::cuda {

// Null where the thread has chosen no GPU.
Result<void*> allocate(size_t bytes);
// What allocate() gave; waits for the GPU.
Status free(void* address);

}  // namespace railccl::cuda
