#include "cuda/cuda_device.h"

#include <unistd.h>

#include <map>
#include <utility>

#include "cuda/context.h"
#include "cuda/cuda_queue.h"
#include "cuda/kernel_image.h"
#include "src/base/log.h"
#include "src/base/mutex.h"

namespace railccl::cuda {
namespace {

Result<const Driver*> loaded_driver() {
  const Driver* const driver = find_driver();
  if (driver != nullptr) return driver;
  return error(Code::kInvalidUsage, "this process has loaded no CUDA driver (libcuda.so.1)");
}

// Of the memory's GPU, that which the memory was made in; else the calling thread's. (NCCL's
// callers may serve several GPUs from one thread without choosing each before its calls.)
Result<Context> context_for(const Driver& driver, const void* address) {
  Context context = nullptr;
  int ordinal = 0;
  const auto pointer = reinterpret_cast<uintptr_t>(address);
  if (place_of(address) != MemoryPlace::kDevice) {
    RAILCCL_TRY(check(driver, driver.context_get_current(&context), "cuCtxGetCurrent"));
    if (context != nullptr) return context;
    return error(Code::kInvalidUsage,
                 "this thread has chosen no GPU (cudaSetDevice), and the buffers do not say which");
  }
  if (driver.pointer_get_attribute(&context, kContextOf, pointer) == 0 && context != nullptr) {
    return context;
  }
  RAILCCL_TRY(check(driver, driver.pointer_get_attribute(&ordinal, kDeviceOrdinal, pointer),
                    "cuPointerGetAttribute"));
  RAILCCL_TRY(
      check(driver, driver.primary_context_retain(&context, ordinal), "cuDevicePrimaryCtxRetain"));
  return context;
}

// What a graph keeps alive.
struct Kept {
  Device::Launch launch;
  std::function<void(const Device::Launch&)> reached;
  void reach() const { reached(launch); }
};

}  // namespace

Result<std::shared_ptr<Device>> CudaDevice::open(const void* address,
                                                 const DeviceOptions& options) {
  RAILCCL_ASSIGN(const Driver* const driver, loaded_driver());
  RAILCCL_ASSIGN(const Context context, context_for(*driver, address));
  return of_context(*driver, context, options);
}

Result<std::shared_ptr<Device>> CudaDevice::open(int ordinal, const DeviceOptions& options) {
  RAILCCL_ASSIGN(const Driver* const driver, loaded_driver());
  int count = 0;
  RAILCCL_TRY(check(*driver, driver->device_get_count(&count), "cuDeviceGetCount"));
  if (ordinal < 0 || ordinal >= count) {
    return error(Code::kInvalidArgument, "there is no GPU {}: this process sees {}", ordinal,
                 count);
  }
  Context context = nullptr;
  RAILCCL_TRY(check(*driver, driver->primary_context_retain(&context, ordinal),
                    "cuDevicePrimaryCtxRetain"));
  return of_context(*driver, context, options);
}

Result<std::shared_ptr<Device>> CudaDevice::of_context(const Driver& driver, Context context,
                                                       const DeviceOptions& options) {
  static Mutex mutex;
  // Never destroyed: kernels that were not reached yet, and graphs, outlive static destructors.
  static auto& devices = *new std::map<Context, std::shared_ptr<CudaDevice>>();
  const MutexLock guard(mutex);
  std::shared_ptr<CudaDevice>& device = devices[context];
  if (!device) {
    auto made = make(driver, context, options);
    if (!made) return Error(made.error());
    device = std::move(*made);
  }
  return std::static_pointer_cast<Device>(device);
}

Result<std::shared_ptr<CudaDevice>> CudaDevice::make(const Driver& driver, Context context,
                                                     const DeviceOptions& options) {
  const MemoryScope scope(driver, context);
  int ordinal = 0;
  RAILCCL_TRY(check(driver, driver.context_get_device(&ordinal), "cuCtxGetDevice"));
  std::shared_ptr<CudaDevice> device(new CudaDevice(driver, context, ordinal, options));
  RAILCCL_TRY(device->load_kernel());
  return device;
}

Status CudaDevice::load_kernel() {
  if (kernel_image() == nullptr) {
    return error(Code::kInvalidUsage,
                 "this build of RailCCL has no kernels for GPUs: build it where CUDA's nvcc is");
  }
  void* module = nullptr;
  const Answer loaded = driver_.module_load_data(&module, kernel_image());
  if (loaded != 0) {
    int major = 0;
    int minor = 0;
    driver_.device_get_attribute(&major, kComputeMajor, ordinal_);
    driver_.device_get_attribute(&minor, kComputeMinor, ordinal_);
    return check(driver_, loaded, "cuModuleLoadData")
        .with_context(fmt::format("loading the kernel for GPU {} (compute capability {}.{})",
                                  ordinal_, major, minor));
  }
  return check(driver_, driver_.module_get_function(&kernel_, module, "railccl_serve"),
               "cuModuleGetFunction");
}

Result<Device::Launch> CudaDevice::launch(std::span<const DeviceStream> streams,
                                          const std::function<void(const Launch&)>& reached) {
  const ContextScope in_context(driver_, context_);
  RAILCCL_ASSIGN(void* const graph, graph_of(streams));
  Launch launch{.captured = graph != nullptr};
  std::vector<QueuePlace*> places;
  for (size_t i = 0; i < streams.size(); ++i) {
    RAILCCL_ASSIGN(QueuePlace* const place, pool_.take());
    places.push_back(place);
    launch.queues.push_back(std::make_shared<CudaQueue>(pool_, place));
  }
  if (launch.captured) RAILCCL_TRY(keep_in_graph(graph, streams[0], launch, reached));
  for (size_t i = 0; i < streams.size(); ++i) {
    const Status started = start_kernel(streams[i], *places[i]);
    if (started) continue;
    // Those that were started must not hold up their streams.
    for (size_t j = 0; j < i && !launch.captured; ++j) {
      launch.queues[j]->begin();
      launch.queues[j]->end();
    }
    return Error(started);
  }
  return launch;
}

Status CudaDevice::start_kernel(DeviceStream stream, QueuePlace& place) const {
  void* parameters[] = {&place.memory_on_device, &place.scratch};
  const auto blocks = static_cast<unsigned>(options_.blocks);
  const auto threads = static_cast<unsigned>(options_.threads_per_block);
  return check(
      driver_,
      driver_.launch_kernel(kernel_, blocks, 1, 1, threads, 1, 1, 0, stream, parameters, nullptr),
      "cuLaunchKernel");
}

Result<void*> CudaDevice::graph_of(std::span<const DeviceStream> streams) const {
  RAILCCL_ASSIGN(void* const graph, captured_graph(streams.front()));
  for (const DeviceStream stream : streams.subspan(1)) {
    RAILCCL_ASSIGN(void* const other, captured_graph(stream));
    if (other != graph) {
      return error(
          Code::kInvalidUsage,
          "a group of sends and receives is over streams of which one is being captured in a "
          "graph and another one is not, or in another graph");
    }
  }
  return graph;
}

Result<void*> CudaDevice::captured_graph(DeviceStream stream) const {
  int state = 0;
  uint64_t id = 0;
  void* graph = nullptr;
  RAILCCL_TRY(check(driver_,
                    driver_.stream_capture_info(stream, &state, &id, &graph, nullptr, nullptr),
                    "cuStreamGetCaptureInfo"));
  if (state == kCaptureInvalidated) {
    return error(Code::kInvalidUsage, "the capture of the stream was broken off before this call");
  }
  return state == kCaptureActive ? graph : nullptr;
}

Status CudaDevice::keep_in_graph(void* graph, DeviceStream stream, const Launch& launch,
                                 const std::function<void(const Launch&)>& reached) const {
  auto kept = std::make_unique<Kept>(Kept{.launch = launch, .reached = reached});
  const auto call = [](void* data) { static_cast<Kept*>(data)->reach(); };
  const auto destroy = [](void* data) { delete static_cast<Kept*>(data); };
  void* object = nullptr;
  RAILCCL_TRY(check(driver_,
                    driver_.user_object_create(&object, kept.get(), destroy, 1, kNoDestructorSync),
                    "cuUserObjectCreate"));
  Kept* const data = kept.release();  // the driver's from here on
  RAILCCL_TRY(check(driver_, driver_.graph_retain(graph, object, 1, kMoveReference),
                    "cuGraphRetainUserObject"));
  return check(driver_, driver_.launch_host(stream, call, data), "cuLaunchHostFunc");
}

Result<std::byte*> CudaDevice::pin(std::byte* memory, size_t bytes) {
  const MemoryScope scope(driver_, context_);
  const Status registered =
      check(driver_, driver_.host_register(memory, bytes, kPortableAndMapped), "cuMemHostRegister");
  if (!registered) {
    return Error(registered.with_context(
        fmt::format("pinning {} bytes of host memory (ulimit -l may be too low)", bytes)));
  }
  DevicePointer on_device = 0;
  const Status found = check(driver_, driver_.host_get_device_pointer(&on_device, memory, 0),
                             "cuMemHostGetDevicePointer");
  if (!found) {
    driver_.host_unregister(memory);
    return Error(found);
  }
  return reinterpret_cast<std::byte*>(on_device);
}

bool CudaDevice::unpin(std::byte* memory) {
  const MemoryScope scope(driver_, context_);
  const Status unpinned = check(driver_, driver_.host_unregister(memory), "cuMemHostUnregister");
  if (!unpinned) RAILCCL_INFO(Subsys::kAlloc, "unpinning host memory: {}", unpinned.message());
  return unpinned.is_ok();
}

Result<SharedDeviceMemory> CudaDevice::allocate_shared(size_t bytes) {
  const MemoryScope scope(driver_, context_);
  DevicePointer pointer = 0;
  RAILCCL_TRY(check(driver_, driver_.memory_alloc(&pointer, bytes), "cuMemAlloc"));
  SharedDeviceMemory memory{.address = reinterpret_cast<std::byte*>(pointer),
                            .bytes = bytes,
                            .pid = static_cast<uint32_t>(getpid())};
  IpcHandle handle;
  // Ranks of this process need none.
  const Status shared =
      check(driver_, driver_.ipc_get_handle(&handle, pointer), "cuIpcGetMemHandle");
  if (!shared) RAILCCL_INFO(Subsys::kInit, "GPU {}: {}", ordinal_, shared.message());
  memory.handle = handle.bytes;
  return memory;
}

void CudaDevice::free_shared(const SharedDeviceMemory& memory) {
  const MemoryScope scope(driver_, context_);
  const auto pointer = reinterpret_cast<DevicePointer>(memory.address);
  const Status freed = check(driver_, driver_.memory_free(pointer), "cuMemFree");
  if (!freed)
    RAILCCL_INFO(Subsys::kAlloc, "freeing memory of GPU {}: {}", ordinal_, freed.message());
}

Result<std::byte*> CudaDevice::reach(const SharedDeviceMemory& memory) {
  const MemoryScope scope(driver_, context_);
  const auto pointer = reinterpret_cast<DevicePointer>(memory.address);
  if (memory.pid == static_cast<uint32_t>(getpid())) {
    Context owner = nullptr;
    RAILCCL_TRY(check(driver_, driver_.pointer_get_attribute(&owner, kContextOf, pointer),
                      "cuPointerGetAttribute"));
    if (owner == context_) return memory.address;
    const Answer enabled = driver_.context_enable_peer_access(owner, 0);
    if (enabled == kPeerAccessAlreadyEnabled) return memory.address;
    RAILCCL_TRY(check(driver_, enabled, "cuCtxEnablePeerAccess"));
    return memory.address;
  }
  DevicePointer opened = 0;
  RAILCCL_TRY(check(driver_, driver_.ipc_open_handle(&opened, {memory.handle}, kEnablePeerAccess),
                    "cuIpcOpenMemHandle"));
  return reinterpret_cast<std::byte*>(opened);
}

void CudaDevice::let_go(const SharedDeviceMemory& memory, std::byte* reached) {
  if (memory.pid == static_cast<uint32_t>(getpid())) return;
  const MemoryScope scope(driver_, context_);
  const auto pointer = reinterpret_cast<DevicePointer>(reached);
  const Status closed = check(driver_, driver_.ipc_close_handle(pointer), "cuIpcCloseMemHandle");
  if (!closed) RAILCCL_INFO(Subsys::kAlloc, "closing a peer's memory: {}", closed.message());
}

}  // namespace railccl::cuda
