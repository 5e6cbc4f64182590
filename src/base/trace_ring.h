// A ring of trace records with one writer, readable by any thread while it is written. The writer
// never waits; a record that was overwritten while it was read is dropped, never torn.
//
// Every word is an atomic: a reader that sees a word of a newer record (acquire) also sees a head
// that proves it newer, because the writer publishes the head before it touches the next slot, and
// stores words with release.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "src/base/trace_record.h"

namespace railccl {

class TraceRing {
 public:
  // Rounded up to a power of two; one slot is always under the writer's hands, so capacity - 1
  // records can be read.
  explicit TraceRing(size_t records);

  size_t capacity() const { return mask_ + 1; }

  // The writer's thread only.
  void write(const TraceRecord& record) {
    const uint64_t index = head_.load(std::memory_order_relaxed);
    const std::array<uint64_t, kWords> words = pack(record);
    Slot& slot = slots_[index & mask_];
    for (size_t i = 0; i < kWords; ++i) slot[i].store(words[i], std::memory_order_release);
    head_.store(index + 1, std::memory_order_release);
  }

  struct Snapshot {
    std::vector<TraceRecord> records;  // oldest first
    uint64_t lost = 0;                 // written since the beginning, but overwritten by now
  };
  // Any thread.
  Snapshot snapshot() const;
  uint64_t written() const { return head_.load(std::memory_order_acquire); }

 private:
  static constexpr size_t kWords = 4;
  using Slot = std::array<std::atomic<uint64_t>, kWords>;
  static_assert(sizeof(Slot) == sizeof(TraceRecord));

  //  word 1:  63      32 31      16 15   8 7    0
  //          |  peer    | source   | rail | kind |
  static std::array<uint64_t, kWords> pack(const TraceRecord& record) {
    return {record.time_ns,
            static_cast<uint64_t>(static_cast<uint32_t>(record.peer)) << 32 |
                uint64_t{record.source} << 16 | uint64_t{static_cast<uint8_t>(record.rail)} << 8 |
                static_cast<uint64_t>(record.kind),
            record.a, record.b};
  }
  static TraceRecord unpack(const std::array<uint64_t, kWords>& words);

  size_t mask_;
  std::unique_ptr<Slot[]> slots_;
  alignas(64) std::atomic<uint64_t> head_{0};
};

}  // namespace railccl
