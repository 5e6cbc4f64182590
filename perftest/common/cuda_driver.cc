#include "perftest/common/cuda_driver.h"

#include <dlfcn.h>

namespace railccl::perftest {
namespace {

// The first function that is not there is remembered.
class Finder {
 public:
  explicit Finder(void* library) : library_(library) {}
  template <class Function>
  void operator()(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(library_, name));
    if (function == nullptr && missing_ == nullptr) missing_ = name;
  }
  const char* missing() const { return missing_; }

 private:
  void* library_;
  const char* missing_ = nullptr;
};

// The name of the first function that is missing, or null. By the version that is meant.
const char* find_all(void* library, CudaDriver& driver) {
  Finder find(library);
  find("cuGetErrorName", driver.get_error_name);
  find("cuInit", driver.init);
  find("cuDeviceGetCount", driver.device_get_count);
  find("cuDeviceGet", driver.device_get);
  find("cuDeviceGetName", driver.device_get_name);
  find("cuDeviceGetAttribute", driver.device_get_attribute);
  find("cuDevicePrimaryCtxRetain", driver.primary_context_retain);
  find("cuCtxSetCurrent", driver.context_set_current);
  find("cuStreamCreate", driver.stream_create);
  find("cuStreamDestroy_v2", driver.stream_destroy);
  find("cuStreamQuery", driver.stream_query);
  find("cuStreamSynchronize", driver.stream_synchronize);
  find("cuStreamBeginCapture_v2", driver.stream_begin_capture);
  find("cuStreamEndCapture", driver.stream_end_capture);
  find("cuGraphInstantiateWithFlags", driver.graph_instantiate);
  find("cuGraphLaunch", driver.graph_launch);
  find("cuGraphExecDestroy", driver.graph_executable_destroy);
  find("cuGraphDestroy", driver.graph_destroy);
  find("cuMemcpyHtoDAsync_v2", driver.copy_to_device);
  find("cuMemcpyDtoHAsync_v2", driver.copy_to_host);
  find("cuMemsetD8Async", driver.memory_set);
  return find.missing();
}

}  // namespace

Outcome<const CudaDriver*> load_cuda_driver(const char* library) {
  void* const handle = dlopen(library, RTLD_NOW);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    return failure(Exit::kUsage, "this machine has no CUDA driver ({})",
                   reason != nullptr ? reason : library);
  }
  static CudaDriver driver;
  static const char* const missing = find_all(handle, driver);
  if (missing == nullptr) return &driver;
  return failure(Exit::kUsage, "the CUDA driver is too old, it has no {}", missing);
}

Outcome<void> check(const CudaDriver& driver, std::string_view call, int answer) {
  if (answer == 0) return {};
  const char* name = nullptr;
  if (driver.get_error_name(answer, &name) != 0 || name == nullptr) name = "unknown error";
  return failure(Exit::kCuda, "{}: {} ({})", call, name, answer);
}

}  // namespace railccl::perftest
