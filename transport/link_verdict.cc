// LinkSender: what the receiver says about the chunks of a rail that is fenced (see link_sender.h).
#include <algorithm>
#include <unordered_map>

#include "transport/link_sender.h"

namespace railccl {

// What a verdict says about one chunk.
class LinkSender::Landed {
 public:
  explicit Landed(const std::vector<wire::VerdictFrame>& frames) {
    for (const wire::VerdictFrame& frame : frames) {
      whole_before_ = frame.puts;
      for (const wire::LandedPut& put : frame.landed) puts_[put.put] = &put;
    }
  }
  bool holds(uint64_t sequence, const wire::Interval& chunk) const {
    const auto number = static_cast<uint32_t>(sequence);
    if (static_cast<int32_t>(number - whole_before_) < 0) return true;
    const auto found = puts_.find(number);
    if (found == puts_.end()) return false;
    return std::any_of(found->second->intervals.begin(), found->second->intervals.end(),
                       [&](const wire::Interval& landed) {
                         return landed.begin <= chunk.begin && chunk.end <= landed.end;
                       });
  }

 private:
  uint32_t whole_before_ = 0;
  std::unordered_map<uint32_t, const wire::LandedPut*> puts_;
};

// What did not get through goes again in two parts. A rail that loses packets may never pass what
// is long, be it sent again and again.
void LinkSender::halve(OutPut& out, size_t index, uint64_t sequence) {
  Chunk& chunk = out.chunks[index];
  if (chunk.bytes < 2 * LinkPair::kShortChunk) return;
  // If its source has changed since, the receiver is to see that.
  if (chunk.checked && crc_of(out, chunk) != chunk.crc) return;
  Chunk rest = chunk;
  chunk.bytes /= 2;
  chunk.checked = false;
  rest.offset += chunk.bytes;
  rest.bytes -= chunk.bytes;
  rest.checked = false;
  replays_.push_back({.put = sequence, .chunk = static_cast<uint32_t>(out.chunks.size())});
  out.chunks.push_back(rest);
}

uint64_t LinkSender::on_verdict(const wire::PairEpoch& rail,
                                const std::vector<wire::VerdictFrame>& frames) {
  const Landed landed(frames);
  uint64_t landed_bytes = 0;
  uint64_t largest_lost = 0;
  for (uint64_t sequence = puts_.first(); sequence != puts_.end(); ++sequence) {
    OutPut& out = puts_[sequence];
    if (out.acknowledged) continue;
    const size_t chunks = out.chunks.size();
    for (size_t i = 0; i < chunks; ++i) {
      Chunk& chunk = out.chunks[i];
      if (chunk.pair != rail.pair || chunk.epoch != rail.epoch) continue;
      if (landed.holds(sequence, {.begin = chunk.offset, .end = chunk.offset + chunk.bytes})) {
        chunk.state = Chunk::State::kCompleted;
        landed_bytes += chunk.bytes;
        continue;
      }
      if (chunk.state == Chunk::State::kCompleted) pairs_[rail.pair].count_lost(chunk.bytes);
      chunk.state = Chunk::State::kLost;
      chunk.replay = true;
      largest_lost = std::max(largest_lost, chunk.bytes);
      replays_.push_back({.put = sequence, .chunk = static_cast<uint32_t>(i)});
      halve(out, i, sequence);
    }
  }
  pairs_[rail.pair].on_chunks_lost(largest_lost);
  progress_made_ += landed_bytes;
  return landed_bytes;
}

}  // namespace railccl
