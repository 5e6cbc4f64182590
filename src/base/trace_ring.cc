#include "src/base/trace_ring.h"

#include <algorithm>
#include <bit>

namespace railccl {

TraceRing::TraceRing(size_t records)
    : mask_(std::bit_ceil(std::max<size_t>(records, 2)) - 1), slots_(new Slot[mask_ + 1]{}) {}

TraceRecord TraceRing::unpack(const std::array<uint64_t, kWords>& words) {
  return {.time_ns = words[0],
          .kind = static_cast<TraceKind>(words[1] & 0xff),
          .rail = static_cast<int8_t>(words[1] >> 8 & 0xff),
          .source = static_cast<TraceSource>(words[1] >> 16 & 0xffff),
          .peer = static_cast<int32_t>(words[1] >> 32),
          .a = words[2],
          .b = words[3]};
}

TraceRing::Snapshot TraceRing::snapshot() const {
  // The oldest index that nobody can be writing to when `head` records are published.
  const auto oldest_safe = [&](uint64_t head) { return head > mask_ ? head - mask_ : 0; };
  const uint64_t end = written();
  const uint64_t begin = oldest_safe(end);
  Snapshot result;
  result.records.reserve(end - begin);
  for (uint64_t index = begin; index < end; ++index) {
    std::array<uint64_t, kWords> words;
    const Slot& slot = slots_[index & mask_];
    for (size_t i = 0; i < kWords; ++i) words[i] = slot[i].load(std::memory_order_acquire);
    result.records.push_back(unpack(words));
  }
  // Drop what the writer may have reached meanwhile.
  const uint64_t safe = std::clamp(oldest_safe(written()), begin, end);
  result.records.erase(result.records.begin(),
                       result.records.begin() + static_cast<std::ptrdiff_t>(safe - begin));
  result.lost = safe;
  return result;
}

}  // namespace railccl
