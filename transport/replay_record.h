// The receiver's record of what has arrived of its peer's puts, per chunk, until a put is whole. It
// counts each chunk once, says when a put is whole, and is what a verdict (wire.h) is made from: so
// a second failure, also one during a replay, is the same case as the first.
//
// Pure: no clock, no I/O; owned by one link. Nothing is allocated per chunk after warm-up.
#pragma once

#include <cstdint>
#include <vector>

#include "transport/sequence_ring.h"
#include "transport/wire.h"

namespace railccl {

class ReplayRecord {
 public:
  enum class Arrival : uint8_t {
    kPart,       // new; the put is not whole yet
    kWhole,      // new, and the put is whole now: notify, with its tag
    kDuplicate,  // already here
    kRefused,    // contradicts what the peer said before, or is out of range: a broken peer
  };
  Arrival on_chunk(uint32_t put, const wire::ChunkNote& chunk, uint64_t bytes);

  // Whether on_chunk would take it for new, or refuse it: its bytes are still where they landed.
  bool is_awaited(uint32_t put, const wire::ChunkNote& chunk, uint64_t bytes) const;

  // Whole puts, for an acknowledgement; bits beyond puts_above follow when `puts` has moved on.
  wire::AckNote whole_puts() const;
  // Everything of the puts that are not yet covered by `puts` of whole_puts.
  std::vector<wire::LandedPut> landed() const;

 private:
  struct IncomingPut {
    bool begun = false;
    bool whole = false;
    uint64_t total = 0;
    uint64_t tag = 0;
    uint64_t arrived = 0;
    std::vector<wire::Interval> intervals;  // ascending, disjoint, not touching
  };
  enum class Insertion : uint8_t { kNew, kKnown, kOverlap };
  static Insertion insert(std::vector<wire::Interval>& intervals, const wire::Interval& added);
  IncomingPut& open(uint64_t sequence);

  SequenceRing<IncomingPut> puts_;  // from the first that is not whole
};

}  // namespace railccl
