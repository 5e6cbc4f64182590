// The board of a node: every rank shows its ready record for each operation, to be read by all the
// others. Records lie in a ring of slots; a slot is written again only after every rank has
// finished the operation that it showed.
//
// Threading: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>

#include "src/core/local_domain.h"
#include "src/core/local_doorbell.h"
#include "src/core/local_segment.h"

namespace railccl {

class LocalBoard {
 public:
  LocalBoard(std::shared_ptr<LocalSegment> segment, int self, LocalDoorbell& doorbell)
      : segment_(std::move(segment)), self_(self), doorbell_(doorbell) {}

  // Sequences ascend; there may be gaps.
  bool publish(const ReadyRecord& ready);
  const ReadyRecord* ready(int rank, uint64_t sequence) const;
  void finish(uint64_t sequence);

 private:
  bool all_finished(uint64_t sequence);

  std::shared_ptr<LocalSegment> segment_;
  int self_;
  LocalDoorbell& doorbell_;
  uint64_t shown_[kBoardSlots] = {};  // the sequence in each of this rank's slots
  uint64_t finished_by_all_ = 0;      // at least
};

}  // namespace railccl
