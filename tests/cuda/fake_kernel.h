// The stand-in's memory and the one kernel that it knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

#include "cuda/driver.h"

namespace railccl::test {

// Any thread.
class FakeMemory {
 public:
  enum class Place : uint8_t { kUnknown, kPinned, kManaged, kDevice };
  // At an address for the host, and at one without access, which is the GPU's.
  cuda::DevicePointer allocate(size_t bytes);
  // Where the next allocation is to be.
  void place_next(const void* begin);
  bool free(cuda::DevicePointer pointer);
  void set_pinned(const void* begin, size_t bytes);
  void set_managed(const void* begin, size_t bytes);
  bool forget(const void* begin);
  Place place_of(cuda::DevicePointer pointer);
  // Of any memory that a GPU may touch; null: it may not touch this.
  void* host_view(cuda::DevicePointer pointer);

 private:
  struct Range {
    size_t bytes = 0;
    Place place = Place::kUnknown;
    uintptr_t host = 0;
  };
  static constexpr size_t kPiece = size_t{2} << 20;
  cuda::DevicePointer take_addresses(size_t bytes);
  const std::pair<const uintptr_t, Range>* find(uintptr_t address) const;
  uintptr_t next_address_ = 0;
  uintptr_t placed_ = 0;  // the next one; 0: anywhere
  std::mutex mutex_;
  std::map<uintptr_t, Range> ranges_;  // by the GPU's address
};

// What serve.cu does, in one thread: serves the queue until it is told to end. Ends the process,
// with a word, on an access that a GPU could not make.
void serve_queue(FakeMemory& memory, cuda::DevicePointer queue, cuda::DevicePointer scratch);

}  // namespace railccl::test
