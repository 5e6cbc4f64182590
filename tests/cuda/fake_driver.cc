// A stand-in for libcuda.so.1: a GPU whose kernels run in threads of this process. Its types are
// those of cuda/driver.h, which driver_types_test.cc holds against cuda.h.
#include "tests/cuda/fake_driver.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cuda/driver.h"
#include "tests/cuda/fake_kernel.h"

namespace {

using railccl::cuda::Answer;
using railccl::cuda::DevicePointer;
using railccl::test::FakeMemory;
using railccl::test::serve_queue;

constexpr Answer kSuccess = 0;
constexpr Answer kInvalidValue = 1;
constexpr Answer kInvalidContext = 201;
constexpr Answer kNotReady = 600;

// --- streams and graphs ---

using Task = std::function<void()>;

// A graph, or one that is ready to be launched; what it holds lives as long as any of them, and as
// its replays.
struct Graph {
  struct Content {
    ~Content() {
      for (const Task& task : on_destroy) task();
    }
    std::vector<Task> tasks;
    std::vector<Task> on_destroy;
  };
  std::shared_ptr<Content> content = std::make_shared<Content>();
};

class FakeStream {
 public:
  FakeStream() : thread_([this] { run(); }) {}
  ~FakeStream() {
    push([this] { stopped_ = true; });
    thread_.join();
  }
  // Captures it, or runs it when it is its turn.
  void add(Task task) {
    if (capture_) {
      capture_->content->tasks.push_back(std::move(task));
    } else {
      push(std::move(task));
    }
  }
  void synchronize() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.empty() && !busy_; });
  }
  bool is_idle() {
    const std::lock_guard lock(mutex_);
    return tasks_.empty() && !busy_;
  }
  void replay(const Graph& graph) {
    for (const Task& task : graph.content->tasks) {
      add([content = graph.content, &task] { task(); });
    }
  }
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void begin_capture() { capture_ = std::make_unique<Graph>(); }
  Graph* end_capture() { return capture_.release(); }
  Graph* captured() const { return capture_.get(); }

 private:
  void push(Task task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }
  void run() {
    std::unique_lock lock(mutex_);
    while (!stopped_) {
      changed_.wait(lock, [this] { return !tasks_.empty() && !held_; });
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      busy_ = true;
      lock.unlock();
      task();
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool held_ = false;
  bool busy_ = false;
  bool stopped_ = false;
  std::unique_ptr<Graph> capture_;
  std::thread thread_;
};

FakeStream& stream_of(void* handle) {
  static auto& default_stream = *new FakeStream();  // outlives the program's own threads
  return handle == nullptr ? default_stream : *static_cast<FakeStream*>(handle);
}

FakeMemory& memory() {
  static auto& one = *new FakeMemory();
  return one;
}

std::atomic<int> launches{0};
std::atomic<int> graph_launches{0};
std::atomic<int> failing_graph_launch{0};  // none
std::atomic<int> gpus{1};
thread_local int contexts_set = 0;  // each thread needs one of its own to make a stream

}  // namespace

extern "C" {

void* fake_driver_host_view(const void* device) {
  return memory().host_view(reinterpret_cast<uintptr_t>(device));
}
void fake_driver_place_next(const void* begin) { memory().place_next(begin); }
void fake_driver_set_managed_memory(const void* begin, size_t bytes) {
  memory().set_managed(begin, bytes);
}
void* fake_driver_create_stream(void) { return new FakeStream(); }
void fake_driver_destroy_stream(void* stream) { delete static_cast<FakeStream*>(stream); }
void fake_driver_synchronize(void* stream) { stream_of(stream).synchronize(); }
void fake_driver_hold(void* stream, int held) { stream_of(stream).hold(held != 0); }
int fake_driver_launches(void) { return launches.load(); }
void fake_driver_fail_graph_launch(int number) { failing_graph_launch = graph_launches + number; }
void fake_driver_set_gpus(int count) { gpus = count; }
int fake_driver_graph_launches(void) { return graph_launches.load(); }
void fake_driver_begin_capture(void* stream) { stream_of(stream).begin_capture(); }
void* fake_driver_end_capture(void* stream) { return stream_of(stream).end_capture(); }
void fake_driver_replay(void* graph, void* stream) {
  stream_of(stream).replay(*static_cast<Graph*>(graph));
}
void fake_driver_destroy_graph(void* graph) { delete static_cast<Graph*>(graph); }

// --- what the library calls ---

Answer cuGetErrorName(Answer answer, const char** name) {
  *name = answer == kSuccess ? "CUDA_SUCCESS" : "CUDA_ERROR_INVALID_VALUE";
  return kSuccess;
}

// As the real one answers: managed memory counts as the device's.
Answer cuPointerGetAttribute(void* value, int attribute, DevicePointer pointer) {
  using railccl::cuda::kContextOf, railccl::cuda::kDeviceOrdinal, railccl::cuda::kIsManaged,
      railccl::cuda::kMemoryType;
  const FakeMemory::Place place = memory().place_of(pointer);
  if (place == FakeMemory::Place::kUnknown) return kInvalidValue;
  switch (attribute) {
    case kMemoryType:
      *static_cast<uint32_t*>(value) = place == FakeMemory::Place::kPinned ? 1 : 2;
      return kSuccess;
    case kIsManaged:
      *static_cast<unsigned char*>(value) = place == FakeMemory::Place::kManaged ? 1 : 0;  // a bool
      return kSuccess;
    case kContextOf:
      *static_cast<void**>(value) = &launches;
      return kSuccess;
    case kDeviceOrdinal:
      *static_cast<int*>(value) = 0;
      return kSuccess;
    default:
      return kInvalidValue;
  }
}

Answer cuCtxGetCurrent(void** context) {
  *context = &launches;
  return kSuccess;
}
Answer cuCtxPushCurrent_v2(void*) {
  ++contexts_set;
  return kSuccess;
}
Answer cuCtxPopCurrent_v2(void** context) {
  --contexts_set;
  return cuCtxGetCurrent(context);
}
Answer cuCtxGetDevice(int* device) {
  *device = 0;
  return kSuccess;
}
Answer cuDeviceGetAttribute(int* value, int, int) {
  *value = 9;
  return kSuccess;
}
Answer cuDeviceGetCount(int* count) {
  *count = gpus.load();
  return kSuccess;
}
Answer cuDevicePrimaryCtxRetain(void** context, int) { return cuCtxGetCurrent(context); }
Answer cuModuleLoadData(void** module, const void*) {
  *module = &launches;
  return kSuccess;
}
Answer cuModuleGetFunction(void** function, void*, const char*) {
  *function = &launches;
  return kSuccess;
}

Answer cuMemAlloc_v2(DevicePointer* pointer, size_t bytes) {
  *pointer = memory().allocate(bytes);
  return *pointer != 0 ? kSuccess : kInvalidValue;
}
Answer cuMemFree_v2(DevicePointer pointer) {
  return memory().free(pointer) ? kSuccess : kInvalidValue;
}
Answer cuMemsetD8Async(DevicePointer pointer, unsigned char value, size_t count, void* stream) {
  void* const view = memory().host_view(pointer);
  if (view != nullptr) stream_of(stream).add([=] { std::memset(view, value, count); });
  return view != nullptr ? kSuccess : kInvalidValue;
}
Answer cuStreamCreate(void** stream, unsigned) {
  if (contexts_set == 0) return kInvalidContext;
  *stream = fake_driver_create_stream();
  return kSuccess;
}
Answer cuStreamSynchronize(void* stream) {
  fake_driver_synchronize(stream);
  return kSuccess;
}
Answer cuStreamDestroy_v2(void* stream) {
  fake_driver_destroy_stream(stream);
  return kSuccess;
}
// Never called: all ranks of a test are in one process and on one GPU.
Answer cuIpcGetMemHandle(railccl::cuda::IpcHandle*, DevicePointer) { return kSuccess; }
Answer cuIpcOpenMemHandle_v2(DevicePointer*, railccl::cuda::IpcHandle, unsigned) {
  return kInvalidValue;
}
Answer cuIpcCloseMemHandle(DevicePointer) { return kInvalidValue; }
Answer cuCtxEnablePeerAccess(void*, unsigned) { return kInvalidValue; }
Answer cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
  constexpr size_t kPage = 4096;
  *pointer = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  memory().set_pinned(*pointer, bytes);
  return kSuccess;
}
Answer cuMemHostRegister_v2(void* pointer, size_t bytes, unsigned) {
  memory().set_pinned(pointer, bytes);
  return kSuccess;
}
Answer cuMemHostUnregister(void* pointer) {
  return memory().forget(pointer) ? kSuccess : kInvalidValue;
}
Answer cuMemHostGetDevicePointer_v2(DevicePointer* pointer, void* host, unsigned) {
  *pointer = reinterpret_cast<uintptr_t>(host);
  return kSuccess;
}

Answer cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                      void* stream, void** parameters, void**) {
  ++launches;
  const DevicePointer queue = *static_cast<DevicePointer*>(parameters[0]);
  const DevicePointer scratch = *static_cast<DevicePointer*>(parameters[1]);
  stream_of(stream).add([queue, scratch] { serve_queue(memory(), queue, scratch); });
  return kSuccess;
}
Answer cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
  stream_of(stream).add([function, data] { function(data); });
  return kSuccess;
}
Answer cuStreamGetCaptureInfo_v2(void* stream, int* status, uint64_t* id, void** graph,
                                 const void**, size_t*) {
  *graph = stream_of(stream).captured();
  *status = *graph != nullptr ? 1 : 0;
  *id = 0;
  return kSuccess;
}
Answer cuThreadExchangeStreamCaptureMode(int* mode) {
  thread_local int current = 0;
  std::swap(*mode, current);
  return kSuccess;
}
Answer cuUserObjectCreate(void** object, void* pointer, void (*destroy)(void*), unsigned,
                          unsigned) {
  *object = new Task([pointer, destroy] { destroy(pointer); });
  return kSuccess;
}
Answer cuGraphRetainUserObject(void* graph, void* object, unsigned, unsigned) {
  const std::unique_ptr<Task> task(static_cast<Task*>(object));
  static_cast<Graph*>(graph)->content->on_destroy.push_back(*task);
  return kSuccess;
}

// --- what programs call besides ---

Answer cuInit(unsigned) { return kSuccess; }
Answer cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < gpus ? kSuccess : kInvalidValue;
}
Answer cuDeviceGetName(char* name, int length, int) {
  std::snprintf(name, static_cast<size_t>(length), "stand-in for a GPU");
  return kSuccess;
}
Answer cuCtxSetCurrent(void*) {
  contexts_set = 1;
  return kSuccess;
}

Answer cuStreamQuery(void* stream) { return stream_of(stream).is_idle() ? kSuccess : kNotReady; }
Answer cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, size_t bytes, void* stream) {
  void* const view = memory().host_view(to);
  if (view != nullptr) stream_of(stream).add([=] { std::memcpy(view, from, bytes); });
  return view != nullptr ? kSuccess : kInvalidValue;
}
Answer cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, size_t bytes, void* stream) {
  const void* const view = memory().host_view(from);
  if (view != nullptr) stream_of(stream).add([=] { std::memcpy(to, view, bytes); });
  return view != nullptr ? kSuccess : kInvalidValue;
}

// The default stream cannot be captured.
Answer cuStreamBeginCapture_v2(void* stream, int) {
  if (stream == nullptr) return kInvalidValue;
  fake_driver_begin_capture(stream);
  return kSuccess;
}
Answer cuStreamEndCapture(void* stream, void** graph) {
  *graph = fake_driver_end_capture(stream);
  return *graph != nullptr ? kSuccess : kInvalidValue;
}
Answer cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  *executable = new Graph(*static_cast<Graph*>(graph));
  return kSuccess;
}
Answer cuGraphLaunch(void* executable, void* stream) {
  if (++graph_launches == failing_graph_launch) return kInvalidValue;
  fake_driver_replay(executable, stream);
  return kSuccess;
}
Answer cuGraphExecDestroy(void* executable) {
  fake_driver_destroy_graph(executable);
  return kSuccess;
}
Answer cuGraphDestroy(void* graph) {
  fake_driver_destroy_graph(graph);
  return kSuccess;
}

}  // extern "C"
