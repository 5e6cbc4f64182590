// Small collectives of a node in one step: every rank writes its contribution and a flag into a
// slot of its own, and reads from the slots of those whose data it needs. Up to 56 bytes are in the
// line of the flag, so that a rank waits for one cache line per peer; the lines after it follow
// without another wait. Reductions combine in ascending rank order on every rank alike.
//
// Every rank takes part in every call in the same order, and writes a flag also where it has no
// data to give. Lines and payload slots are rings; one is written again only when all ranks have
// completed the call it was for. So a rank that depends on nobody (the root of a broadcast) runs
// ahead of the slowest by up to kSmallLines calls.
//
// The flag's low 16 bits count the calls, the others are a hash of the (fingerprint, sequence) of
// this call and all before. Equal flags mean the same calls; an equal counter with another hash is
// a mismatch, found before the data is used, of this call or of an earlier one in which the two
// ranks did not have to look at each other.
//
// Threading: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "src/core/local_board.h"
#include "src/core/local_domain.h"
#include "src/core/local_doorbell.h"
#include "src/core/local_segment.h"

namespace railccl {

class LocalSmall {
 public:
  using Call = LocalDomain::Small;
  using Progress = LocalDomain::Progress;

  LocalSmall(std::shared_ptr<LocalSegment> segment, int self, LocalDoorbell& doorbell,
             const LocalBoard& board);

  // As LocalDomain.
  void begin(const Call& call);
  Progress step();
  LocalDomain::SmallMismatch mismatch() const { return mismatch_; }
  std::optional<uint64_t> called(int rank, uint64_t sequence) const;

 private:
  bool publish();
  bool has_room();
  bool gives_data() const;
  bool all_done(uint64_t counter);
  Progress collect();
  Progress look_at(int rank);
  Progress not_complete();
  Progress complete();
  void find_difference(int rank);
  void find_other_call();
  void combine();
  void reduce(size_t block_offset);
  void gather();
  const std::byte* data_of(int rank) const;
  bool has_payload() const;
  SmallLine& line_of(int rank) const;
  SmallPayload& payload_of(int rank) const;
  SmallNote& note_of(int rank, uint64_t counter) const;
  // What the rank wrote for this call.
  std::byte* published_by(int rank) const;

  std::shared_ptr<LocalSegment> segment_;
  int self_;
  int ranks_;
  LocalDoorbell& doorbell_;
  const LocalBoard& board_;

  Call call_;
  size_t block_bytes_ = 0;
  size_t payload_bytes_ = 0;  // of a rank that gives data
  uint64_t counter_ = 0;      // of calls; this call's number
  uint64_t history_ = 0;      // hash of all calls so far
  uint64_t flag_ = 0;         // of this call
  bool published_ = false;
  bool waits_for_room_ = false;
  bool rung_ = false;  // others were woken after publish()
  int next_ = 0;       // peers below have arrived
  int awaited_ = 0;    // the rank looked at last
  Progress progress_ = Progress::kDone;
  LocalDomain::SmallMismatch mismatch_;

  uint64_t done_by_all_ = 0;       // at least
  std::vector<SmallArea*> areas_;  // by rank
  std::vector<const std::byte*> sources_;
};

}  // namespace railccl
