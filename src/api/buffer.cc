#include "src/api/buffer.h"

#include <fmt/format.h>

#include "src/core/wiring.h"

namespace railccl {

Status check_host_memory(const void* address, std::string_view name, std::string_view function) {
  if (!is_gpu_memory(address)) return Status::ok();
  return error(Code::kInvalidArgument,
               "argument {} of {} is memory of a GPU ({}): this version works on host memory; copy "
               "it to the host first, or use NCCL for it",
               name, function, fmt::ptr(address));
}

}  // namespace railccl
