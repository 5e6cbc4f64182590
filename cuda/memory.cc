#include "cuda/memory.h"

#include <bit>

#include "cuda/context.h"
#include "cuda/driver.h"

namespace railccl::cuda {

Result<void*> allocate(size_t bytes) {
  const Driver* const driver = find_driver();
  if (!has_context()) return nullptr;
  const RelaxedCaptureScope relaxed(*driver);
  DevicePointer pointer = 0;
  RAILCCL_TRY(check(*driver, driver->memory_alloc(&pointer, bytes), "cuMemAlloc"));
  forget_host_memory(pointer, bytes);
  return std::bit_cast<void*>(pointer);
}

Status free(void* address) {
  const Driver* const driver = find_driver();
  if (driver == nullptr) return error(Code::kInternalError, "the CUDA driver is gone");
  return check(*driver, driver->memory_free(std::bit_cast<DevicePointer>(address)), "cuMemFree");
}

}  // namespace railccl::cuda
