#include "tests/cuda/fake_kernel.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/queue_memory.h"
#include "src/compute/compute.h"

namespace railccl::test {
namespace {

using cuda::Command;
using cuda::CommandKind;
using cuda::DevicePointer;
using cuda::kQueueSlots;

uint64_t load(uint64_t& word) { return std::atomic_ref(word).load(std::memory_order_acquire); }
void store(uint64_t& word, uint64_t value) {
  std::atomic_ref(word).store(value, std::memory_order_release);
}

std::byte* reach(FakeMemory& memory, DevicePointer pointer) {
  auto* const view = static_cast<std::byte*>(memory.host_view(pointer));
  if (view != nullptr) return view;
  std::fprintf(stderr, "a kernel touched %#llx, which no GPU reaches\n", pointer);
  std::abort();
}

void copy(FakeMemory& memory, const Command& command) {
  for (uint64_t block = 0; block < command.blocks; ++block) {
    const std::byte* from = reach(memory, command.sources[0] + block * command.source_stride);
    for (uint16_t d = 0; d < command.num_destinations; ++d) {
      std::byte* const to =
          reach(memory, command.destinations[d] + block * command.destination_stride);
      std::memmove(to, from, command.bytes);
    }
  }
}

void compute(FakeMemory& memory, const Command& command) {
  const auto type = static_cast<DataType>(command.type);
  std::vector<const std::byte*> sources;
  std::vector<std::byte*> destinations;
  for (uint16_t i = 0; i < command.num_sources; ++i) {
    sources.push_back(reach(memory, command.sources[i]));
  }
  for (uint16_t i = 0; i < command.num_destinations; ++i) {
    destinations.push_back(reach(memory, command.destinations[i]));
  }
  const uint64_t count = command.bytes / element_bytes(type);
  if (static_cast<CommandKind>(static_cast<uint32_t>(command.head)) == CommandKind::kScale) {
    host_compute().submit(ScaleWork{.dst = destinations[0],
                                    .src = sources[0],
                                    .count = count,
                                    .type = type,
                                    .scalar = reinterpret_cast<const std::byte*>(&command.scalar)});
    return;
  }
  host_compute().submit(ReduceWork{.dsts = destinations,
                                   .srcs = sources,
                                   .count = count,
                                   .type = type,
                                   .op = static_cast<ReduceOp>(command.op),
                                   .divide_by = command.divide_by});
}

}  // namespace

// As the driver, addresses of a room of its own that nobody else is ever given, in pieces of 2 MiB.
DevicePointer FakeMemory::take_addresses(size_t bytes) {
  constexpr size_t kRoom = size_t{1} << 38;
  const std::lock_guard lock(mutex_);
  if (placed_ != 0) return std::exchange(placed_, 0);
  if (next_address_ == 0) {
    void* const room =
        mmap(nullptr, kRoom, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return 0;
    next_address_ = (reinterpret_cast<uintptr_t>(room) + kPiece - 1) / kPiece * kPiece;
  }
  return std::exchange(next_address_, next_address_ + bytes);
}

DevicePointer FakeMemory::allocate(size_t bytes) {
  const size_t whole = (bytes + kPiece - 1) / kPiece * kPiece;
  const DevicePointer device = take_addresses(whole);
  void* const host =
      mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (device == 0 || host == MAP_FAILED) return 0;
  const std::lock_guard lock(mutex_);
  ranges_[device] = {
      .bytes = whole, .place = Place::kDevice, .host = reinterpret_cast<uintptr_t>(host)};
  return device;
}

void FakeMemory::place_next(const void* begin) {
  const std::lock_guard lock(mutex_);
  placed_ = reinterpret_cast<uintptr_t>(begin);
}

bool FakeMemory::free(DevicePointer pointer) {
  const std::lock_guard lock(mutex_);
  const auto found = ranges_.find(pointer);
  if (found == ranges_.end() || found->second.place != Place::kDevice) return false;
  munmap(reinterpret_cast<void*>(found->second.host), found->second.bytes);
  ranges_.erase(found);
  return true;
}

void FakeMemory::set_pinned(const void* begin, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const std::lock_guard lock(mutex_);
  ranges_[address] = {.bytes = bytes, .place = Place::kPinned, .host = address};
}

void FakeMemory::set_managed(const void* begin, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const std::lock_guard lock(mutex_);
  ranges_[address] = {.bytes = bytes, .place = Place::kManaged, .host = address};
}

bool FakeMemory::forget(const void* begin) {
  const std::lock_guard lock(mutex_);
  return ranges_.erase(reinterpret_cast<uintptr_t>(begin)) > 0;
}

const std::pair<const uintptr_t, FakeMemory::Range>* FakeMemory::find(uintptr_t address) const {
  auto after = ranges_.upper_bound(address);
  if (after == ranges_.begin()) return nullptr;
  --after;
  return address < after->first + after->second.bytes ? &*after : nullptr;
}

FakeMemory::Place FakeMemory::place_of(DevicePointer pointer) {
  const std::lock_guard lock(mutex_);
  const auto* const range = find(pointer);
  return range != nullptr ? range->second.place : Place::kUnknown;
}

void* FakeMemory::host_view(DevicePointer pointer) {
  const std::lock_guard lock(mutex_);
  const auto* const range = find(pointer);
  if (range == nullptr) return nullptr;
  return reinterpret_cast<void*>(range->second.host + (pointer - range->first));
}

void serve_queue(FakeMemory& memory, DevicePointer queue_address, DevicePointer scratch_address) {
  auto& queue = *reinterpret_cast<cuda::QueueMemory*>(reach(memory, queue_address));
  auto& scratch = *reinterpret_cast<cuda::QueueScratch*>(reach(memory, scratch_address));
  uint64_t number = scratch.consumed;
  const uint64_t run = scratch.runs + 1;
  store(queue.started, run);
  const auto ahead = [](uint64_t a, uint64_t b) {  // as counts of 32 bits wrap around
    return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
  };
  for (;;) {
    const uint64_t posted = load(queue.posted);
    if (ahead(posted, number) <= 0) {
      if (ahead(posted >> 32, run) >= 0) break;
      std::this_thread::yield();
      continue;
    }
    const Command command = queue.slots[number % kQueueSlots];
    const auto kind = static_cast<CommandKind>(static_cast<uint32_t>(command.head));
    if (kind == CommandKind::kCopy) copy(memory, command);
    if (kind == CommandKind::kReduce || kind == CommandKind::kScale) compute(memory, command);
    store(queue.completed[number % kQueueSlots], number + 1);
    ++number;
  }
  scratch.consumed = number;
  scratch.runs = run;
  store(queue.ended, run);
}

}  // namespace railccl::test
