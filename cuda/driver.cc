#include "cuda/driver.h"

#include <dlfcn.h>

#include <array>
#include <atomic>
#include <cstdint>

namespace railccl::cuda {
namespace {

// cuPointerGetAttribute of cuda.h, which is not there on every machine that builds this;
// tests/cuda/fake_driver.cc holds the numbers against it where it is.
using PointerGetAttribute = int (*)(void* value, int attribute, unsigned long long pointer);
constexpr int kMemoryType = 2;   // CU_POINTER_ATTRIBUTE_MEMORY_TYPE
constexpr int kIsManaged = 8;    // CU_POINTER_ATTRIBUTE_IS_MANAGED
constexpr uint32_t kDevice = 2;  // CU_MEMORYTYPE_DEVICE

std::atomic<PointerGetAttribute> pointer_get_attribute{nullptr};

// The driver takes a microsecond to say that it does not know a pointer, several times what a small
// operation takes. So regions of the host are remembered; the driver gives out memory in pieces of
// 2 MiB. One that the host gives back and the driver then uses would be mistaken for the host's.
constexpr int kRegionBits = 21;
std::array<std::atomic<uintptr_t>, 64> host_regions{};

uint32_t attribute_of(PointerGetAttribute get, int attribute, const void* address) {
  uint32_t value = 0;
  const int problem = get(&value, attribute, reinterpret_cast<uintptr_t>(address));
  return problem == 0 ? value : 0;  // an error for memory that the driver does not know
}

}  // namespace

void find_driver() {
  if (pointer_get_attribute.load() != nullptr) return;
  void* const driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (driver == nullptr) return;
  // The driver stays where it is until the process ends.
  pointer_get_attribute.store(
      reinterpret_cast<PointerGetAttribute>(dlsym(driver, "cuPointerGetAttribute")));
}

bool is_device_memory(const void* address) {
  const PointerGetAttribute get = pointer_get_attribute.load(std::memory_order_relaxed);
  if (get == nullptr) return false;
  const uintptr_t region = reinterpret_cast<uintptr_t>(address) >> kRegionBits;
  std::atomic<uintptr_t>& remembered = host_regions[region % host_regions.size()];
  if (remembered.load(std::memory_order_relaxed) == region) return false;
  const bool is_device = attribute_of(get, kMemoryType, address) == kDevice &&
                         attribute_of(get, kIsManaged, address) == 0;
  if (!is_device) remembered.store(region, std::memory_order_relaxed);
  return is_device;
}

}  // namespace railccl::cuda
