// The buffers of calls, and whether the host or a GPU serves them. Any thread.
#pragma once

#include <span>
#include <string_view>

#include "include/railccl/nccl.h"
#include "src/base/status.h"

namespace railccl {

struct BufferArgument {
  const void* address = nullptr;
  std::string_view name;  // of the argument
  size_t element = 1;     // bytes
};

// False: memory of the host, and a stream of railcclStreamCreate or none. True: memory that a GPU
// reaches, and a stream of CUDA. An error that names the argument when they do not fit together, or
// when RAILCCL_DEVICE=host forbids it.
Result<bool> is_for_device(std::span<const BufferArgument> buffers, cudaStream_t stream,
                           std::string_view function);

// Of them, one that says which GPU it is for: memory of one, if there is any; else any. Null: no
// buffers.
const void* which_gpu(std::span<const BufferArgument> buffers);

// Whether only a GPU can read what is there.
bool is_device_memory(const void* address);

}  // namespace railccl
