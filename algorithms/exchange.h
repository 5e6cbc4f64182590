// The moves between the members of a group that algorithms are made of: flat ones use them with all
// ranks, hierarchical ones with the ranks of the same column of every node. Each call appends one
// member's part to its schedule. Pure.
#pragma once

#include <functional>
#include <vector>

#include "algorithms/builder.h"

namespace railccl::algorithms {

// Ranks in the order of the exchange, and this rank's place among them.
struct Group {
  std::vector<int> ranks;
  int me = 0;
  // Whether members can put to each other's kOutput (Builder::lands_in_output), all of them.
  bool lands_in_output = true;
  int size() const { return static_cast<int>(ranks.size()); }
  int at(int index) const {
    const int n = size();
    return ranks[static_cast<size_t>(((index % n) + n) % n)];
  }
};
// All ranks, neighbours on one node.
Group all_ranks(const Builder& b);

// Consecutive elements of one block of a user buffer. `number` tells it from the other extents of
// an exchange, and is below the number of ranks.
struct Extent {
  uint64_t block = 0;
  Part part;
  int number = 0;
};
using Chunk = std::vector<Extent>;

// What the exchange works on. Offsets are those of this rank.
struct GroupData {
  // This member's contribution to an extent is the reduction of these, in this order; more than one
  // when it speaks for its node.
  std::function<Slices(const Extent&)> sources;
  // Everywhere this member stores the extent's result, its own kOutput included where it is wanted
  // there.
  std::function<Slices(const Extent&)> results;
  // Where the extent lies in the kOutput of every member, for what is put there by others.
  std::function<Slice(const Extent&)> landing;
};

// The chunks of an exchange that cuts the data: member `index` of the group ends with (or begins
// with) chunk `index`.
struct Chunks {
  std::function<Chunk(int index)> of;
  uint64_t slot = 0;  // elements of scratch that hold any chunk of any piece
};

// Ring (P. Patarasuk, X. Yuan: Bandwidth optimal all-reduce algorithms, JPDC 69, 2009): n - 1
// steps. Member i ends with the reduction of chunk i in `results`, combined in ring order from
// member i + 1. With `release` members tell when their scratch may be used by the next lap;
// unnecessary when a ring_all_gather of the results follows.
void ring_reduce_scatter(Builder& b, const Group& group, const Chunks& chunks,
                         const GroupData& data, bool release);
// Member i begins with chunk i at data.landing; every member ends with all chunks there, and
// those of others in all of `results`.
void ring_all_gather(Builder& b, const Group& group, const Chunks& chunks, const GroupData& data);

// The same by recursive doubling (R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective
// communication operations in MPICH, IJHPCA 19, 2005), for a power of two of members that can all
// put to each other's kOutput: log2 n steps, whose partners send to each other.
void doubling_all_gather(Builder& b, const Group& group, const Chunks& chunks,
                         const GroupData& data);

// ReduceScatter by the same steps backwards (recursive halving; the same article), for a power of
// two of members: member i ends with the reduction of chunk i in `results`.
void halving_reduce_scatter(Builder& b, const Group& group, const Chunks& chunks,
                            const GroupData& data);

// In the exchanges of one extent, `slot` elements of scratch hold it in any piece.
//
// Pipelined chain; the pieces are the pipeline's segments. The data of member 0's source goes to
// the results of all.
void chain_broadcast(Builder& b, const Group& chain, const Extent& extent, uint64_t slot,
                     const GroupData& data);
// The reduction of all members' contributions, from the last member to member 0's results.
void chain_reduce(Builder& b, const Group& chain, const Extent& extent, uint64_t slot,
                  const GroupData& data);

// Recursive doubling (the same article); the members above the power of two are folded in. The
// operand of the lower members comes first everywhere, so all compute the same bits.
void doubling_all_reduce(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
                         const GroupData& data);

// Recursive halving, then recursive doubling (the same article): twice the rounds, but each member
// sends the data less than twice and reduces it once. For members that can all put to each other's
// kOutput.
void halving_all_reduce(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
                        const GroupData& data);

}  // namespace railccl::algorithms
