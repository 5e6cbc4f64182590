#include "src/core/local_board.h"

#include <algorithm>
#include <atomic>

namespace railccl {

bool LocalBoard::publish(const ReadyRecord& ready) {
  const uint64_t slot = ready.sequence % kBoardSlots;
  if (!all_finished(shown_[slot])) return false;
  ReadyRecord& record = segment_->board(self_)[slot].record;
  std::copy_n(ready.fingerprint, std::size(ready.fingerprint), record.fingerprint);
  record.input = ready.input;
  record.output = ready.output;
  std::atomic_ref(record.sequence).store(ready.sequence, std::memory_order_release);
  shown_[slot] = ready.sequence;
  doorbell_.ring_all();
  return true;
}

const ReadyRecord* LocalBoard::ready(int rank, uint64_t sequence) const {
  ReadyRecord& record = segment_->board(rank)[sequence % kBoardSlots].record;
  const bool there = std::atomic_ref(record.sequence).load(std::memory_order_acquire) == sequence;
  return there ? &record : nullptr;
}

void LocalBoard::finish(uint64_t sequence) {
  segment_->state(self_).finished.store(sequence, std::memory_order_release);
  doorbell_.ring_all();
}

bool LocalBoard::all_finished(uint64_t sequence) {
  if (sequence <= finished_by_all_) return true;
  uint64_t least = ~uint64_t{0};
  for (int rank = 0; rank < segment_->layout().ranks; ++rank) {
    least = std::min(least, segment_->state(rank).finished.load(std::memory_order_acquire));
  }
  finished_by_all_ = least;
  return sequence <= finished_by_all_;
}

}  // namespace railccl
