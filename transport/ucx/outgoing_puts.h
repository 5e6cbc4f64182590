// The puts of one endpoint that are on their way: a fixed number of slots, each of which stays
// where it is until its put is done, since UCX reads the header from it. A put is done when UCX has
// let go of its memory and the target has acknowledged it; the two come in any order. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "transport/ucx/wire.h"

namespace railccl::ucx {

struct OutgoingPut {
  PutHeader header;
  uint64_t token = 0;
  bool used = false;
  bool sent = false;    // UCX has let go of it
  bool placed = false;  // the target says so
};

class OutgoingPuts {
 public:
  struct Limits {
    size_t puts = 0;
    size_t bytes = 0;
  };

  explicit OutgoingPuts(const Limits& limits) : limits_(limits), slots_(limits.puts) {
    for (size_t i = limits.puts; i > 0; --i) free_.push_back(static_cast<uint32_t>(i - 1));
  }

  bool empty() const { return free_.size() == slots_.size(); }
  // One put is always accepted by an empty queue.
  bool accepts(size_t bytes) const {
    return !free_.empty() && (empty() || bytes_ + bytes <= limits_.bytes);
  }
  // Only if it accepts them. The header's sequence is set.
  OutgoingPut& push(const PutHeader& header, uint64_t token) {
    const uint32_t slot = free_.back();
    free_.pop_back();
    bytes_ += header.bytes;
    slots_[slot] = {.header = header, .token = token, .used = true};
    slots_[slot].header.sequence = slot;
    return slots_[slot];
  }
  bool is_used(uint32_t slot) const { return slot < slots_.size() && slots_[slot].used; }
  const OutgoingPut& operator[](uint32_t slot) const { return slots_[slot]; }

  // The put, when that was what it waited for.
  std::optional<OutgoingPut> mark_sent(uint32_t slot) {
    slots_[slot].sent = true;
    return take_if_done(slot);
  }
  std::optional<OutgoingPut> mark_placed(uint32_t slot) {
    slots_[slot].placed = true;
    return take_if_done(slot);
  }
  // The puts that are there, done or not; they stay.
  std::vector<OutgoingPut> all() const {
    std::vector<OutgoingPut> puts;
    for (const OutgoingPut& put : slots_) {
      if (put.used) puts.push_back(put);
    }
    return puts;
  }
  // A put that did not go out after all.
  void forget(uint32_t slot) { take(slot); }

 private:
  std::optional<OutgoingPut> take_if_done(uint32_t slot) {
    if (!slots_[slot].sent || !slots_[slot].placed) return std::nullopt;
    return take(slot);
  }
  OutgoingPut take(uint32_t slot) {
    slots_[slot].used = false;
    bytes_ -= slots_[slot].header.bytes;
    free_.push_back(slot);
    return slots_[slot];
  }

  const Limits limits_;
  std::vector<OutgoingPut> slots_;
  std::vector<uint32_t> free_;
  size_t bytes_ = 0;
};

}  // namespace railccl::ucx
