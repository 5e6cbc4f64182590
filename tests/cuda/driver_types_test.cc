// The driver's interface as the library and the perftest programs declare it, against the toolkit's
// cuda.h.
#include <cuda.h>
#include <gtest/gtest.h>

#include <type_traits>

#include "cuda/driver.h"
#include "perftest/common/cuda_driver.h"

namespace railccl::cuda {
namespace {

static_assert(kContextOf == CU_POINTER_ATTRIBUTE_CONTEXT);
static_assert(kMemoryType == CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
static_assert(kIsManaged == CU_POINTER_ATTRIBUTE_IS_MANAGED);
static_assert(kDeviceOrdinal == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
static_assert(kHostMemory == CU_MEMORYTYPE_HOST);
static_assert(kDeviceMemory == CU_MEMORYTYPE_DEVICE);
static_assert(kComputeMajor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(kComputeMinor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(kPortableAndMapped == (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP));
static_assert(kPortableAndMapped == (CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP));
static_assert(kCaptureActive == CU_STREAM_CAPTURE_STATUS_ACTIVE);
static_assert(kCaptureInvalidated == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
static_assert(kCaptureRelaxed == CU_STREAM_CAPTURE_MODE_RELAXED);
static_assert(kNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(kNoDestructorSync == CU_USER_OBJECT_NO_DESTRUCTOR_SYNC);
static_assert(kMoveReference == CU_GRAPH_USER_OBJECT_MOVE);
static_assert(kEnablePeerAccess == CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
static_assert(kPeerAccessAlreadyEnabled == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);

// The same number of parameters, each passed in the same way.
template <class Ours, class Theirs>
struct SameCall : std::false_type {};
template <class R, class... A, class S, class... B>
struct SameCall<R (*)(A...), S (*)(B...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(A) == sizeof...(B)) {
      return sizeof(R) == sizeof(S) &&
             ((sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>)&&...);
    }
    return false;
  }();
};
#define RAILCCL_SAME_CALL(member, function) \
  static_assert(SameCall<decltype(Driver::member), decltype(&(function))>::value)

RAILCCL_SAME_CALL(get_error_name, cuGetErrorName);
RAILCCL_SAME_CALL(pointer_get_attribute, cuPointerGetAttribute);
RAILCCL_SAME_CALL(context_get_current, cuCtxGetCurrent);
RAILCCL_SAME_CALL(context_push, cuCtxPushCurrent);
RAILCCL_SAME_CALL(context_pop, cuCtxPopCurrent);
RAILCCL_SAME_CALL(device_get_attribute, cuDeviceGetAttribute);
RAILCCL_SAME_CALL(primary_context_retain, cuDevicePrimaryCtxRetain);
RAILCCL_SAME_CALL(module_load_data, cuModuleLoadData);
RAILCCL_SAME_CALL(module_get_function, cuModuleGetFunction);
RAILCCL_SAME_CALL(memory_alloc, cuMemAlloc);
RAILCCL_SAME_CALL(memory_free, cuMemFree);
RAILCCL_SAME_CALL(memory_set_async, cuMemsetD8Async);
RAILCCL_SAME_CALL(stream_create, cuStreamCreate);
RAILCCL_SAME_CALL(stream_synchronize, cuStreamSynchronize);
RAILCCL_SAME_CALL(stream_destroy, cuStreamDestroy);
RAILCCL_SAME_CALL(ipc_get_handle, cuIpcGetMemHandle);
RAILCCL_SAME_CALL(ipc_open_handle, cuIpcOpenMemHandle);
RAILCCL_SAME_CALL(ipc_close_handle, cuIpcCloseMemHandle);
RAILCCL_SAME_CALL(context_enable_peer_access, cuCtxEnablePeerAccess);
RAILCCL_SAME_CALL(device_get_count, cuDeviceGetCount);
RAILCCL_SAME_CALL(host_alloc, cuMemHostAlloc);
RAILCCL_SAME_CALL(host_register, cuMemHostRegister);
RAILCCL_SAME_CALL(host_unregister, cuMemHostUnregister);
RAILCCL_SAME_CALL(host_get_device_pointer, cuMemHostGetDevicePointer);
RAILCCL_SAME_CALL(launch_kernel, cuLaunchKernel);
RAILCCL_SAME_CALL(launch_host, cuLaunchHostFunc);
RAILCCL_SAME_CALL(thread_exchange_capture_mode, cuThreadExchangeStreamCaptureMode);
RAILCCL_SAME_CALL(user_object_create, cuUserObjectCreate);
RAILCCL_SAME_CALL(graph_retain, cuGraphRetainUserObject);
// cuStreamGetCaptureInfo_v2 is in the driver, but no longer in every cuda.h.

static_assert(perftest::kNotReady == CUDA_ERROR_NOT_READY);
static_assert(perftest::kPciBus == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
static_assert(perftest::kPciDevice == CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
static_assert(perftest::kPciDomain == CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
static_assert(perftest::kNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(perftest::kThreadLocal == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);

#define PERFTEST_SAME_CALL(member, function) \
  static_assert(SameCall<decltype(perftest::CudaDriver::member), decltype(&(function))>::value)

PERFTEST_SAME_CALL(get_error_name, cuGetErrorName);
PERFTEST_SAME_CALL(init, cuInit);
PERFTEST_SAME_CALL(device_get_count, cuDeviceGetCount);
PERFTEST_SAME_CALL(device_get, cuDeviceGet);
PERFTEST_SAME_CALL(device_get_name, cuDeviceGetName);
PERFTEST_SAME_CALL(device_get_attribute, cuDeviceGetAttribute);
PERFTEST_SAME_CALL(primary_context_retain, cuDevicePrimaryCtxRetain);
PERFTEST_SAME_CALL(context_set_current, cuCtxSetCurrent);
PERFTEST_SAME_CALL(stream_create, cuStreamCreate);
PERFTEST_SAME_CALL(stream_destroy, cuStreamDestroy);
PERFTEST_SAME_CALL(stream_query, cuStreamQuery);
PERFTEST_SAME_CALL(stream_synchronize, cuStreamSynchronize);
PERFTEST_SAME_CALL(stream_begin_capture, cuStreamBeginCapture);
PERFTEST_SAME_CALL(stream_end_capture, cuStreamEndCapture);
PERFTEST_SAME_CALL(graph_instantiate, cuGraphInstantiateWithFlags);
PERFTEST_SAME_CALL(graph_launch, cuGraphLaunch);
PERFTEST_SAME_CALL(graph_executable_destroy, cuGraphExecDestroy);
PERFTEST_SAME_CALL(graph_destroy, cuGraphDestroy);
PERFTEST_SAME_CALL(copy_to_device, cuMemcpyHtoDAsync);
PERFTEST_SAME_CALL(copy_to_host, cuMemcpyDtoHAsync);
PERFTEST_SAME_CALL(memory_set, cuMemsetD8Async);

TEST(DriverTypes, AreTheToolkits) { SUCCEED() << "checked when this was compiled"; }

}  // namespace
}  // namespace railccl::cuda
