// A GPU as the core sees it: work is handed to a queue that the GPU serves in the order of a
// stream, without any call to the driver after the launch. The implementation is in cuda.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "src/base/status.h"
#include "src/compute/compute.h"

namespace railccl {

// `blocks` pieces of `bytes`, each so much further on than the one before it.
struct BlockCopy {
  std::byte* dst = nullptr;
  const std::byte* src = nullptr;
  uint64_t bytes = 0;
  uint64_t blocks = 1;
  uint64_t dst_stride = 0;
  uint64_t src_stride = 0;
};

// The work of one operation on the GPU: its stream reaches it, does what is submitted, and goes on
// when it has been ended. Pointers are to memory of the GPU, to what a peer's GPU has opened to it,
// or to pinned host memory. What is submitted may run in any order; whoever depends on a result
// waits for its ticket. A launch is run once; what was captured in a graph, as often as the graph.
//
// Threading: one thread at a time. Never blocks, never calls the driver. May be let go when it has
// ended, or has been told to end and has not started: then it keeps its memory.
class DeviceQueue : public Compute {
 public:
  // Announces the next run. The stream may reach it before or after.
  virtual void begin() = 0;
  virtual bool started() const = 0;  // the stream has reached the run that was announced last
  using Compute::submit;
  virtual Ticket submit(const BlockCopy& copy) = 0;
  // No more of this run: the stream goes on when what was submitted is done.
  virtual void end() = 0;
  // The same, and what the GPU has not been told yet is forgotten.
  virtual void cancel() = 0;
  virtual bool ended() = 0;  // and has
};

// A stream of the GPU's own programming interface.
using DeviceStream = void*;

// Memory of a GPU that other GPUs of the machine can be given access to; plain bytes, to be sent to
// the processes that want it.
struct SharedDeviceMemory {
  std::byte* address = nullptr;  // in its owner
  uint64_t bytes = 0;
  uint32_t pid = 0;  // of its owner; 0: none
  uint32_t pad = 0;
  std::array<std::byte, 64> handle{};
};

class Device {
 public:
  virtual ~Device() = default;
  virtual int ordinal() const = 0;

  struct Launch {
    std::vector<std::shared_ptr<DeviceQueue>> queues;  // by stream
    bool captured = false;
  };
  // Puts the work of an operation into each of the streams; after an error none waits. If they are
  // being captured (all or none), `reached` is called, by a thread of the driver, each time that
  // the graph gets to the first one; it must not call the driver, and lives as long as the graph.
  // Caller's thread; may take milliseconds the first time.
  virtual Result<Launch> launch(std::span<const DeviceStream> streams,
                                const std::function<void(const Launch&)>& reached) = 0;
  // Host memory that the GPU then reaches at the address that is returned, until unpin().
  virtual Result<std::byte*> pin(std::byte* memory, size_t bytes) = 0;
  // False: it could not, and the memory must stay.
  virtual bool unpin(std::byte* memory) = 0;

  virtual Result<SharedDeviceMemory> allocate_shared(size_t bytes) = 0;
  virtual void free_shared(const SharedDeviceMemory& memory) = 0;
  // Where this GPU loads and stores another one's memory, until let_go(). An error: it cannot.
  virtual Result<std::byte*> reach(const SharedDeviceMemory& memory) = 0;
  virtual void let_go(const SharedDeviceMemory& memory, std::byte* reached) = 0;
};

// Sources, and as many destinations, that a queue takes in one piece of work.
constexpr int kMostDeviceOperands = 16;

struct DeviceOptions {
  int blocks = 32;  // of threads, that serve an operation
  int threads_per_block = 512;
};

// Where a pointer of a caller leads.
enum class MemoryPlace : uint8_t {
  kHost,    // the GPU cannot reach it
  kPinned,  // host and GPU reach it (cudaMallocHost, cudaMallocManaged)
  kDevice,  // the host cannot reach it
};

}  // namespace railccl
