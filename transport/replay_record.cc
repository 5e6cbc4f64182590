#include "transport/replay_record.h"

#include <algorithm>

namespace railccl {

ReplayRecord::Insertion ReplayRecord::insert(std::vector<wire::Interval>& intervals,
                                             const wire::Interval& added) {
  auto next = std::upper_bound(
      intervals.begin(), intervals.end(), added.begin,
      [](uint64_t begin, const wire::Interval& interval) { return begin < interval.begin; });
  const bool has_previous = next != intervals.begin();
  const auto previous = has_previous ? next - 1 : next;
  if (has_previous && added.begin < previous->end) {
    return added.end <= previous->end ? Insertion::kKnown : Insertion::kOverlap;
  }
  if (next != intervals.end() && added.end > next->begin) return Insertion::kOverlap;
  const bool joins_previous = has_previous && previous->end == added.begin;
  const bool joins_next = next != intervals.end() && next->begin == added.end;
  if (joins_previous && joins_next) {
    previous->end = next->end;
    intervals.erase(next);
  } else if (joins_previous) {
    previous->end = added.end;
  } else if (joins_next) {
    next->begin = added.begin;
  } else {
    intervals.insert(next, added);
  }
  return Insertion::kNew;
}

ReplayRecord::IncomingPut& ReplayRecord::open(uint64_t sequence) {
  while (puts_.end() <= sequence) {
    IncomingPut& put = puts_.push_back();
    put.begun = put.whole = false;
    put.total = put.tag = put.arrived = 0;
    put.intervals.clear();
  }
  return puts_[sequence];
}

ReplayRecord::Arrival ReplayRecord::on_chunk(uint32_t number, const wire::ChunkNote& chunk,
                                             uint64_t bytes) {
  const uint64_t sequence = widen(number, puts_.first());
  const auto ahead = static_cast<int64_t>(sequence - puts_.first());
  if (ahead < 0) {
    // 2^31 sequences back are whole puts; a peer that is further off than its window is broken.
    return ahead >= -int64_t{1 << 30} ? Arrival::kDuplicate : Arrival::kRefused;
  }
  if (ahead >= static_cast<int64_t>(wire::kMaxOpenPuts)) return Arrival::kRefused;
  if (chunk.offset > chunk.total || bytes > chunk.total - chunk.offset) return Arrival::kRefused;
  if (bytes == 0 && chunk.total != 0) return Arrival::kRefused;

  IncomingPut& put = open(sequence);
  if (put.begun && (put.total != chunk.total || put.tag != chunk.tag)) return Arrival::kRefused;
  if (put.whole) return Arrival::kDuplicate;
  put.begun = true;
  put.total = chunk.total;
  put.tag = chunk.tag;
  if (bytes != 0) {
    switch (insert(put.intervals, {.begin = chunk.offset, .end = chunk.offset + bytes})) {
      case Insertion::kKnown:
        return Arrival::kDuplicate;
      case Insertion::kOverlap:
        return Arrival::kRefused;
      case Insertion::kNew:
        put.arrived += bytes;
    }
  }
  if (put.arrived != put.total) return Arrival::kPart;
  put.whole = true;
  while (!puts_.empty() && puts_.front().whole) puts_.pop_front();
  return Arrival::kWhole;
}

bool ReplayRecord::is_awaited(uint32_t number, const wire::ChunkNote& chunk, uint64_t bytes) const {
  const uint64_t sequence = widen(number, puts_.first());
  if (static_cast<int64_t>(sequence - puts_.first()) < 0) return false;
  if (!puts_.contains(sequence)) return true;
  const IncomingPut& put = puts_[sequence];
  if (put.whole) return false;
  return std::none_of(put.intervals.begin(), put.intervals.end(), [&](const auto& interval) {
    return interval.begin <= chunk.offset && chunk.offset + bytes <= interval.end;
  });
}

wire::AckNote ReplayRecord::whole_puts() const {
  wire::AckNote ack;
  ack.puts = static_cast<uint32_t>(puts_.first());
  for (uint64_t bit = 0; bit < 128; ++bit) {
    const uint64_t sequence = puts_.first() + 1 + bit;
    if (!puts_.contains(sequence)) break;
    if (puts_[sequence].whole) ack.puts_above[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  return ack;
}

std::vector<wire::LandedPut> ReplayRecord::landed() const {
  std::vector<wire::LandedPut> landed;
  for (uint64_t sequence = puts_.first(); sequence != puts_.end(); ++sequence) {
    const IncomingPut& put = puts_[sequence];
    if (!put.begun) continue;
    wire::LandedPut entry{.put = static_cast<uint32_t>(sequence), .intervals = put.intervals};
    if (put.total == 0) entry.intervals.push_back({});
    landed.push_back(std::move(entry));
  }
  return landed;
}

}  // namespace railccl
