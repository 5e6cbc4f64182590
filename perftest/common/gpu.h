// What a rank does with a GPU, besides calling the library: chooses it, puts its work into a stream
// or into a graph, and copies. Nothing here waits for a whole GPU: another rank's kernel may be
// there and wait for this one. Each object belongs to its rank's thread, but for Gpus (any thread).
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "perftest/common/cuda_driver.h"

namespace railccl::perftest {

struct GpuInfo {
  int ordinal = 0;
  std::string bus;  // "0000:3b:00"
  std::string name;
};

// Those that this process sees: at least one.
class Gpus {
 public:
  static Outcome<Gpus> open(const CudaDriver& driver);
  const CudaDriver& driver() const { return *driver_; }
  int count() const { return count_; }
  // The calling thread's from here on, until the process ends.
  Outcome<GpuInfo> choose(int ordinal) const;

 private:
  Gpus(const CudaDriver& driver, int count) : driver_(&driver), count_(count) {}
  const CudaDriver* driver_;
  int count_;
};

// What was captured, ready to be launched as often as one likes; let go when it has run.
class GpuGraph {
 public:
  GpuGraph(GpuGraph&& other) noexcept
      : driver_(other.driver_),
        graph_(std::exchange(other.graph_, nullptr)),
        executable_(std::exchange(other.executable_, nullptr)) {}
  GpuGraph& operator=(GpuGraph&&) = delete;
  ~GpuGraph();

 private:
  friend class GpuStream;
  explicit GpuGraph(const CudaDriver& driver) : driver_(&driver) {}
  const CudaDriver* driver_;
  void* graph_ = nullptr;
  void* executable_ = nullptr;
};

// The default stream, or one of its own that does not wait for it. Of the GPU that the thread has
// chosen.
class GpuStream {
 public:
  static Outcome<GpuStream> create(const CudaDriver& driver, bool own);
  GpuStream(GpuStream&& other) noexcept
      : driver_(other.driver_), stream_(std::exchange(other.stream_, nullptr)) {}
  GpuStream& operator=(GpuStream&&) = delete;
  ~GpuStream();

  void* get() const { return stream_; }
  Outcome<bool> is_done() const;
  // These return when it has happened.
  Outcome<void> clear(std::byte* device, size_t bytes) const;
  Outcome<void> copy_to_device(std::byte* device, const std::byte* host, size_t bytes) const;
  Outcome<void> copy_to_host(std::byte* host, const std::byte* device, size_t bytes) const;

  // What `issue` puts into the stream, kept instead of run.
  Outcome<GpuGraph> capture(const std::function<Outcome<void>()>& issue) const;
  Outcome<void> launch(const GpuGraph& graph) const;

 private:
  explicit GpuStream(const CudaDriver& driver) : driver_(&driver) {}
  Outcome<void> after(std::string_view call, int answer) const;
  const CudaDriver* driver_;
  void* stream_ = nullptr;
};

}  // namespace railccl::perftest
