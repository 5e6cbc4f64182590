// Proves that the schedules of all ranks together are right, before any of them runs:
//  - postcondition: every element of every output holds the right contributions, each exactly once,
//    in the same order of combination on all ranks, and `final` stands exactly where a reduction is
//    complete;
//  - every wait has exactly one notification, and the other way round;
//  - no deadlock in any interleaving;
//  - no two touching accesses, one of them a write, unordered by happens-before: puts count from
//    issue to end, direct loads and stores, aliases of buffers in place, scratch slots used again a
//    lap later;
//  - all accesses by others to a rank's memory are over when it ends;
//  - slices within their buffers, buffers that exist and may be reached.
// The model is the one of schedule.h. Pure; any thread.
//
// Why it is enough to play one interleaving. Put, signal, reduce and copy never block, and a wait
// is for one notification that nobody else takes. So what may run next only grows, and if the steps
// can be played to the end in one order, happens-before (program order, signal to wait, end of put
// to wait) is a partial order of all steps, and every interleaving runs to the end: the least
// unplayed step of any state can be played. When all conflicting accesses are ordered by it, each
// read sees the same write in all interleavings, hence the same values.
//
// Why two laps and a shorter last one are enough. Pieces of one channel in different slots share no
// memory and no notification. In one slot, piece follows piece on each rank, and a step of lap k is
// before the same step of lap k + 1. An access of lap k that conflicts with one of lap k + i,
// i > 1, conflicts with the same access of lap k + 1, which is checked, and which is before it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algorithms/schedule.h"
#include "src/base/status.h"

namespace railccl {

// The schedules of all ranks for pieces of shape.piece elements. The operation consists of
// ceil(block / piece) such pieces; the last may be shorter.
struct ScheduleSet {
  Shape shape;
  std::vector<Schedule> ranks;
};

// What one rank does in one piece, in elements.
struct RankAmounts {
  uint64_t inter = 0;    // put to other nodes
  uint64_t local = 0;    // put to local peers, or loaded from or stored to their memory
  uint64_t reduced = 0;  // sources - 1 per element
  uint64_t scratch = 0;
  uint64_t largest_put = 0;  // to another node
};

struct ScheduleCounts {
  uint32_t latency_steps_inter = 0;  // messages on the longest path
  uint32_t latency_steps_local = 0;
  uint64_t path_elements_inter = 0;  // put to other nodes one after another
  std::vector<RankAmounts> ranks;
};

// `tail`: the schedules of the last piece, when the piece size does not divide the block; else
// null. An error names rank, step and reason.
Result<ScheduleCounts> verify(const ScheduleSet& set, const ScheduleSet* tail = nullptr);

// Generates and verifies the schedules of all ranks and of all the algorithm's channels, and
// compares its cost with what was counted. `shape.channel` and `channels` are chosen here.
Status verify_algorithm(const Algorithm& algorithm, Shape shape);

// Mean over the sets (one per channel) of the busiest rank, per element of `piece`.
Cost cost_of(const std::vector<ScheduleCounts>& channels, uint64_t piece);

ScheduleSet generate_all(const Algorithm& algorithm, const Shape& shape);

}  // namespace railccl
