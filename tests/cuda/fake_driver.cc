// A stand-in for libcuda.so.1, with cuda.h's own numbers where the toolkit is there.
#include "tests/cuda/fake_driver.h"

#include <cstdint>

#if __has_include(<cuda.h>)
#include <cuda.h>
#else
using CUresult = int;
constexpr int CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1;
constexpr int CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2, CU_POINTER_ATTRIBUTE_IS_MANAGED = 8;
constexpr uint32_t CU_MEMORYTYPE_DEVICE = 2;
using CUdeviceptr = unsigned long long;
using CUpointer_attribute = int;
#endif

namespace {

struct Range {
  uintptr_t begin = 0;
  size_t bytes = 0;
  bool contains(CUdeviceptr address) const { return address >= begin && address < begin + bytes; }
};
Range device;
Range managed;

}  // namespace

extern "C" {

void fake_driver_set_device_memory(const void* begin, size_t bytes) {
  device = {reinterpret_cast<uintptr_t>(begin), bytes};
}

void fake_driver_set_managed_memory(const void* begin, size_t bytes) {
  managed = {reinterpret_cast<uintptr_t>(begin), bytes};
}

// As the real one answers: managed memory counts as the device's.
CUresult cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr pointer) {
  if (!device.contains(pointer) && !managed.contains(pointer)) return CUDA_ERROR_INVALID_VALUE;
  if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE) {
    *static_cast<uint32_t*>(value) = CU_MEMORYTYPE_DEVICE;
    return CUDA_SUCCESS;
  }
  if (attribute != CU_POINTER_ATTRIBUTE_IS_MANAGED) return CUDA_ERROR_INVALID_VALUE;
  *static_cast<unsigned char*>(value) = managed.contains(pointer) ? 1 : 0;  // a bool
  return CUDA_SUCCESS;
}

}  // extern "C"
