#include "src/core/local_heap.h"

#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "src/base/mutex.h"
#include "src/core/local_domain.h"
#include "src/core/local_memory_file.h"

namespace railccl {
namespace {

struct Allocation {
  UniqueFd file;
  SharedMapping memory;
  size_t data_bytes = 0;
  uint64_t segment = 0;
  uint32_t pid = 0;

  HeapTrailer& trailer() const {
    return *reinterpret_cast<HeapTrailer*>(memory.data() + data_bytes);
  }
};

// What a look-up needs, copied by each thread.
struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  uint32_t pid = 0;
  uint64_t segment = 0;
};

class HeapRegistry {
 public:
  static HeapRegistry& instance() {
    static HeapRegistry* const registry = new HeapRegistry;  // outlives every static destructor
    return *registry;
  }

  Result<void*> allocate(size_t bytes);
  Status free(void* address);
  // Sorted by address; this thread's copy.
  const std::vector<Range>& ranges();

 private:
  uint64_t next_number() RAILCCL_REQUIRES(mutex_);
  void changed() RAILCCL_REQUIRES(mutex_) { generation_.fetch_add(1, std::memory_order_release); }

  Mutex mutex_;
  std::map<uintptr_t, Allocation> allocations_ RAILCCL_GUARDED_BY(mutex_);
  uint64_t next_number_ RAILCCL_GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> generation_{1};
};

// Numbers begin at random, so that a process with a recycled id does not repeat them.
uint64_t HeapRegistry::next_number() {
  if (next_number_ == 0 &&
      getrandom(&next_number_, sizeof next_number_, 0) != sizeof next_number_) {
    next_number_ = current_pid();
  }
  return ++next_number_;
}

Result<void*> HeapRegistry::allocate(size_t bytes) {
  Allocation allocation;
  allocation.data_bytes = round_up(bytes, kPageBytes);
  const size_t file_bytes = allocation.data_bytes + kPageBytes;
  RAILCCL_ASSIGN(allocation.file, create_memory_file("railccl-heap", file_bytes));
  if (allocation.file.get() >= 1 << kHeapFdBits) {
    return error(Code::kSystemError, "more than {} open files", 1 << kHeapFdBits);
  }
  RAILCCL_ASSIGN(allocation.memory, SharedMapping::map(allocation.file, file_bytes));
  prefer_own_node(allocation.memory.data(), file_bytes);

  const MutexLock guard(mutex_);
  allocation.pid = current_pid();
  allocation.segment = next_number() << kHeapFdBits | static_cast<uint64_t>(allocation.file.get());
  HeapTrailer& trailer = allocation.trailer();
  trailer.segment = allocation.segment;
  trailer.data_bytes = allocation.data_bytes;
  trailer.pid = allocation.pid;
  trailer.magic = kHeapMagic;
  std::byte* const data = allocation.memory.data();
  allocations_.emplace(reinterpret_cast<uintptr_t>(data), std::move(allocation));
  changed();
  return data;
}

Status HeapRegistry::free(void* address) {
  Allocation allocation;
  {
    const MutexLock guard(mutex_);
    const auto found = allocations_.find(reinterpret_cast<uintptr_t>(address));
    if (found == allocations_.end()) {
      return error(Code::kInvalidArgument,
                   "{} is not the start of memory from ncclMemAlloc, or was freed before", address);
    }
    allocation = std::move(found->second);
    allocations_.erase(found);
    changed();
  }
  // A forked child gives back its mapping only; the memory is its parent's.
  if (allocation.pid != current_pid()) return Status::ok();
  allocation.trailer().freed.store(1, std::memory_order_release);
  if (fallocate(allocation.file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                static_cast<off_t>(allocation.data_bytes)) != 0) {
    return system_error(errno, "giving shared memory back to the system");
  }
  return Status::ok();
}

const std::vector<Range>& HeapRegistry::ranges() {
  struct Copy {
    uint64_t generation = 0;
    std::vector<Range> ranges;
  };
  thread_local Copy copy;
  if (copy.generation == generation_.load(std::memory_order_acquire)) return copy.ranges;
  const MutexLock guard(mutex_);
  copy.generation = generation_.load(std::memory_order_relaxed);
  copy.ranges.clear();
  for (const auto& [begin, allocation] : allocations_) {
    copy.ranges.push_back({.begin = begin,
                           .end = begin + allocation.data_bytes,
                           .pid = allocation.pid,
                           .segment = allocation.segment});
  }
  return copy.ranges;
}

// Null: not all of it is in one allocation.
const Range* find_range(const void* address, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  const std::vector<Range>& ranges = HeapRegistry::instance().ranges();
  auto after = std::upper_bound(ranges.begin(), ranges.end(), begin,
                                [](uintptr_t at, const Range& range) { return at < range.begin; });
  if (after == ranges.begin()) return nullptr;
  const Range& range = *--after;
  return begin >= range.end || bytes > range.end - begin ? nullptr : &range;
}

}  // namespace

std::optional<HeapPlace> find_in_heap(const void* address, size_t bytes) {
  const Range* range = find_range(address, bytes);
  if (range == nullptr) return std::nullopt;
  return HeapPlace{.pid = range->pid,
                   .segment = range->segment,
                   .offset = reinterpret_cast<uintptr_t>(address) - range->begin};
}

std::optional<HeapAllocation> find_allocation(const void* address, size_t bytes) {
  const Range* range = find_range(address, bytes);
  if (range == nullptr) return std::nullopt;
  return HeapAllocation{.begin = reinterpret_cast<std::byte*>(range->begin),
                        .bytes = range->end - range->begin,
                        .segment = range->segment};
}

std::byte* own_heap_address(const HeapPlace& place, size_t bytes) {
  for (const Range& range : HeapRegistry::instance().ranges()) {
    if (range.pid != place.pid || range.segment != place.segment) continue;
    const uint64_t size = range.end - range.begin;
    if (place.offset > size || bytes > size - place.offset) return nullptr;
    return reinterpret_cast<std::byte*>(range.begin + place.offset);
  }
  return nullptr;
}

Result<void*> shared_heap_allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  return HeapRegistry::instance().allocate(bytes);
}

Status shared_heap_free(void* address) {
  if (address == nullptr) return Status::ok();
  return HeapRegistry::instance().free(address);
}

}  // namespace railccl
