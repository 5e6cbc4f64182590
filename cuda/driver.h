// The CUDA driver of the process: the one door to it. The program loads and initialises it; the
// library only finds what is there, so it works where there is none. Any thread.
//
// The types are those of cuda.h, which is not on every machine that builds this;
// tests/cuda/driver_types_test.cc holds them against it where it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "src/base/status.h"
#include "src/compute/device.h"

namespace railccl::cuda {

using Answer = int;  // CUresult; 0: success
using Context = void*;
using Stream = void*;
using DevicePointer = unsigned long long;
struct IpcHandle {
  std::array<std::byte, 64> bytes{};
};

// CU_POINTER_ATTRIBUTE_..., CU_MEMORYTYPE_...
constexpr int kContextOf = 1;
constexpr int kMemoryType = 2;
constexpr int kIsManaged = 8;
constexpr int kDeviceOrdinal = 9;
constexpr uint32_t kHostMemory = 1;
constexpr uint32_t kDeviceMemory = 2;
// CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
constexpr int kComputeMajor = 75;
constexpr int kComputeMinor = 76;
// CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP, and the same of CU_MEMHOSTREGISTER_
constexpr unsigned kPortableAndMapped = 3;
// CU_STREAM_CAPTURE_STATUS_..., CU_STREAM_CAPTURE_MODE_RELAXED
constexpr int kCaptureActive = 1;
constexpr int kCaptureInvalidated = 2;
constexpr int kCaptureRelaxed = 2;
constexpr unsigned kNonBlocking = 1;  // CU_STREAM_NON_BLOCKING
// CU_USER_OBJECT_NO_DESTRUCTOR_SYNC, CU_GRAPH_USER_OBJECT_MOVE
constexpr unsigned kNoDestructorSync = 1;
constexpr unsigned kMoveReference = 1;
// CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS, CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
constexpr unsigned kEnablePeerAccess = 1;
constexpr Answer kPeerAccessAlreadyEnabled = 704;

// Functions of libcuda.so.1 by the version of their interface that is meant.
struct Driver {
  Answer (*get_error_name)(Answer, const char** name);
  Answer (*pointer_get_attribute)(void* value, int attribute, DevicePointer pointer);
  Answer (*context_get_current)(Context* context);
  Answer (*context_push)(Context context);
  Answer (*context_pop)(Context* context);
  Answer (*context_get_device)(int* device);
  Answer (*device_get_attribute)(int* value, int attribute, int device);
  Answer (*device_get_count)(int* count);
  Answer (*primary_context_retain)(Context* context, int device);
  Answer (*module_load_data)(void** module, const void* image);
  Answer (*module_get_function)(void** function, void* module, const char* name);
  Answer (*memory_alloc)(DevicePointer* pointer, size_t bytes);
  Answer (*memory_free)(DevicePointer pointer);
  Answer (*memory_set_async)(DevicePointer pointer, unsigned char value, size_t count,
                             Stream stream);
  Answer (*stream_create)(Stream* stream, unsigned flags);
  Answer (*stream_synchronize)(Stream stream);
  Answer (*stream_destroy)(Stream stream);
  Answer (*ipc_get_handle)(IpcHandle* handle, DevicePointer pointer);
  Answer (*ipc_open_handle)(DevicePointer* pointer, IpcHandle handle, unsigned flags);
  Answer (*ipc_close_handle)(DevicePointer pointer);
  Answer (*context_enable_peer_access)(Context peer, unsigned flags);
  Answer (*host_alloc)(void** pointer, size_t bytes, unsigned flags);
  Answer (*host_register)(void* pointer, size_t bytes, unsigned flags);
  Answer (*host_unregister)(void* pointer);
  Answer (*host_get_device_pointer)(DevicePointer* pointer, void* host, unsigned flags);
  Answer (*launch_kernel)(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                          unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared_bytes, Stream stream, void** parameters, void** extra);
  Answer (*launch_host)(Stream stream, void (*function)(void*), void* data);
  Answer (*stream_capture_info)(Stream stream, int* status, uint64_t* id, void** graph,
                                const void** dependencies, size_t* num_dependencies);
  Answer (*thread_exchange_capture_mode)(int* mode);
  Answer (*user_object_create)(void** object, void* pointer, void (*destroy)(void*),
                               unsigned references, unsigned flags);
  Answer (*graph_retain)(void* graph, void* object, unsigned count, unsigned flags);
};

// Looks for the driver, if it has not been found yet; a microsecond. To be called before memory of
// a GPU can come: when a communicator is made. Null: the program has loaded none, or one that lacks
// a function (which is logged once).
const Driver* find_driver();
// Loads it where the program has not.
const Driver* load_driver();

// Whether the calling thread has chosen a GPU.
bool has_context();

// Where the pointer leads; kHost where there is no driver. Nanoseconds for memory of the host.
MemoryPlace place_of(const void* address);
// The same, of memory that may have been pinned since it was last asked about. A microsecond.
MemoryPlace place_of_now(const void* address);
// The driver has given this out: what was the host's there before is so no longer.
void forget_host_memory(DevicePointer begin, size_t bytes);

// "cuLaunchKernel: CUDA_ERROR_OUT_OF_MEMORY" as a status; ok for success.
Status check(const Driver& driver, Answer answer, const char* function);

}  // namespace railccl::cuda
