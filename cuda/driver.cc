#include "cuda/driver.h"

#include <dlfcn.h>

#include <array>
#include <atomic>

#include "src/base/log.h"

namespace railccl::cuda {
namespace {

std::atomic<const Driver*> found_driver{nullptr};

// The driver takes a microsecond to say that it does not know a pointer, several times what a small
// operation takes. So regions of the host are remembered; the driver gives out memory in pieces of
// 2 MiB. One that the host gives back and the driver then gives to another than this library
// (forget_host_memory) would be mistaken for the host's.
constexpr int kRegionBits = 21;
std::array<std::atomic<uintptr_t>, 64> host_regions{};

uint32_t attribute_of(const Driver& driver, int attribute, const void* address) {
  uint32_t value = 0;
  const Answer answer =
      driver.pointer_get_attribute(&value, attribute, reinterpret_cast<uintptr_t>(address));
  return answer == 0 ? value : 0;  // an error for memory that the driver does not know
}

template <class Function>
bool find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr) {
    RAILCCL_WARN_ONCE(Subsys::kInit, name,
                      "the CUDA driver has no function {}: memory of a GPU is not served", name);
  }
  return function != nullptr;
}

bool find_all(void* library, Driver& driver) {
  return find(library, "cuGetErrorName", driver.get_error_name) &&
         find(library, "cuPointerGetAttribute", driver.pointer_get_attribute) &&
         find(library, "cuCtxGetCurrent", driver.context_get_current) &&
         find(library, "cuCtxPushCurrent_v2", driver.context_push) &&
         find(library, "cuCtxPopCurrent_v2", driver.context_pop) &&
         find(library, "cuCtxGetDevice", driver.context_get_device) &&
         find(library, "cuDeviceGetAttribute", driver.device_get_attribute) &&
         find(library, "cuDeviceGetCount", driver.device_get_count) &&
         find(library, "cuDevicePrimaryCtxRetain", driver.primary_context_retain) &&
         find(library, "cuModuleLoadData", driver.module_load_data) &&
         find(library, "cuModuleGetFunction", driver.module_get_function) &&
         find(library, "cuMemAlloc_v2", driver.memory_alloc) &&
         find(library, "cuMemFree_v2", driver.memory_free) &&
         find(library, "cuMemsetD8Async", driver.memory_set_async) &&
         find(library, "cuStreamCreate", driver.stream_create) &&
         find(library, "cuStreamSynchronize", driver.stream_synchronize) &&
         find(library, "cuStreamDestroy_v2", driver.stream_destroy) &&
         find(library, "cuIpcGetMemHandle", driver.ipc_get_handle) &&
         find(library, "cuIpcOpenMemHandle_v2", driver.ipc_open_handle) &&
         find(library, "cuIpcCloseMemHandle", driver.ipc_close_handle) &&
         find(library, "cuCtxEnablePeerAccess", driver.context_enable_peer_access) &&
         find(library, "cuMemHostAlloc", driver.host_alloc) &&
         find(library, "cuMemHostRegister_v2", driver.host_register) &&
         find(library, "cuMemHostUnregister", driver.host_unregister) &&
         find(library, "cuMemHostGetDevicePointer_v2", driver.host_get_device_pointer) &&
         find(library, "cuLaunchKernel", driver.launch_kernel) &&
         find(library, "cuLaunchHostFunc", driver.launch_host) &&
         find(library, "cuStreamGetCaptureInfo_v2", driver.stream_capture_info) &&
         find(library, "cuThreadExchangeStreamCaptureMode", driver.thread_exchange_capture_mode) &&
         find(library, "cuUserObjectCreate", driver.user_object_create) &&
         find(library, "cuGraphRetainUserObject", driver.graph_retain);
}

const Driver* look_for_driver(int flags) {
  if (const Driver* const driver = found_driver.load(std::memory_order_acquire)) return driver;
  void* const library = dlopen("libcuda.so.1", RTLD_LAZY | flags);
  if (library == nullptr) return nullptr;
  // The driver stays where it is until the process ends.
  static Driver driver;
  static const bool complete = find_all(library, driver);
  if (complete) found_driver.store(&driver, std::memory_order_release);
  return found_driver.load(std::memory_order_acquire);
}

}  // namespace

const Driver* find_driver() { return look_for_driver(RTLD_NOLOAD); }
const Driver* load_driver() { return look_for_driver(0); }

bool has_context() {
  const Driver* const driver = found_driver.load(std::memory_order_acquire);
  Context context = nullptr;
  return driver != nullptr && driver->context_get_current(&context) == 0 && context != nullptr;
}

MemoryPlace place_of_now(const void* address) {
  const Driver* const driver = found_driver.load(std::memory_order_acquire);
  if (driver == nullptr) return MemoryPlace::kHost;
  const uint32_t type = attribute_of(*driver, kMemoryType, address);
  if (type == kHostMemory) return MemoryPlace::kPinned;
  if (type != kDeviceMemory) return MemoryPlace::kHost;
  const bool managed = attribute_of(*driver, kIsManaged, address) != 0;
  return managed ? MemoryPlace::kPinned : MemoryPlace::kDevice;
}

MemoryPlace place_of(const void* address) {
  if (found_driver.load(std::memory_order_acquire) == nullptr) return MemoryPlace::kHost;
  const uintptr_t region = reinterpret_cast<uintptr_t>(address) >> kRegionBits;
  std::atomic<uintptr_t>& remembered = host_regions[region % host_regions.size()];
  if (remembered.load(std::memory_order_relaxed) == region) return MemoryPlace::kHost;
  const MemoryPlace place = place_of_now(address);
  if (place == MemoryPlace::kHost) remembered.store(region, std::memory_order_relaxed);
  return place;
}

void forget_host_memory(DevicePointer begin, size_t bytes) {
  if (bytes == 0) return;
  const uintptr_t first = begin >> kRegionBits;
  const uintptr_t last = (begin + bytes - 1) >> kRegionBits;
  for (std::atomic<uintptr_t>& remembered : host_regions) {
    const uintptr_t region = remembered.load(std::memory_order_relaxed);
    if (region >= first && region <= last) remembered.store(0, std::memory_order_relaxed);
  }
}

Status check(const Driver& driver, Answer answer, const char* function) {
  if (answer == 0) return Status::ok();
  const char* name = nullptr;
  if (driver.get_error_name(answer, &name) != 0 || name == nullptr) name = "unknown error";
  return error(Code::kDeviceError, "{} answered {} ({})", function, name, answer);
}

}  // namespace railccl::cuda
