// The shared heap, owner's side: memory of this process that other ranks of the node can map, and
// the registry that knows which addresses are in it. An allocation is a memory file of its own: its
// data, then one page that says what it is. Freeing gives the memory back to the system at once,
// also where others still have it mapped.
//
// Pages come with the first touch. Measured per 256 MiB of 4 KiB pages (EPYC 9004, Linux 6.18):
// asking for all of them at once takes 158 ms instead of 200 ms one by one, so the owner would gain
// little and pay for what it never uses. A peer that maps all at once pays 45 ms, instead of 17 ms
// (to read) or 108 ms (to write) when it touches all; but in a collective over n ranks it touches
// one n-th of each buffer.
//
// Threading: any thread. find_in_heap() takes no lock unless the registry changed since this thread
// looked.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "src/base/status.h"

namespace railccl {

// The last page of a heap file.
struct HeapTrailer {
  uint64_t magic;
  uint64_t segment;
  uint64_t data_bytes;  // before this page
  uint32_t pid;         // of the owner
  std::atomic<uint32_t> freed;
};
constexpr uint64_t kHeapMagic = 0x5041454843434c52;  // "RLCCHEAP"

// A segment is named by the file descriptor in its owner, and a number that the owner never uses
// again, so that a name never means two things.
constexpr int kHeapFdBits = 20;
constexpr int heap_fd(uint64_t segment) {
  return static_cast<int>(segment & ((uint64_t{1} << kHeapFdBits) - 1));
}

// Where an address lies.
struct HeapPlace {
  uint32_t pid = 0;
  uint64_t segment = 0;
  uint64_t offset = 0;
};
// Nothing unless all of [address, address + bytes) is in one allocation.
std::optional<HeapPlace> find_in_heap(const void* address, size_t bytes);

// The allocation of this process that holds all of [address, address + bytes).
struct HeapAllocation {
  std::byte* begin = nullptr;
  size_t bytes = 0;
  uint64_t segment = 0;
};
std::optional<HeapAllocation> find_allocation(const void* address, size_t bytes);

// The allocation of this process (or of the one it was forked from) with that name; null if there
// is none or the range is outside.
std::byte* own_heap_address(const HeapPlace& place, size_t bytes);

}  // namespace railccl
