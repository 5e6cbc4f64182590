// AllGather in ceil(log2 n) rounds for any n: J. Bruck et al., Efficient algorithms for all-to-all
// communications in multiport message-passing systems, TPDS 8, 1997; and ReduceScatter, the same
// in reverse (the idea of PAT: S. Jeaugey, arXiv 2506.20252). Blocks are packed in scratch, block j
// of a rank's scratch being that of the j-th rank after it in node order: for small data.
#include <algorithm>
#include <bit>

#include "algorithms/algorithms.h"
#include "algorithms/builder.h"
#include "algorithms/rounds.h"

namespace railccl::algorithms::bruck {
namespace {

class Packed {
 public:
  Packed(const Shape& shape, int rank)
      : b_(shape, rank),
        n_(shape.layout->ranks()),
        me_(shape.layout->position[static_cast<size_t>(rank)]) {}

  Builder& builder() { return b_; }
  // The rank `distance` after this one.
  int after(int distance) const {
    const int position = ((me_ + distance) % n_ + n_) % n_;
    return b_.layout().order[static_cast<size_t>(position)];
  }
  uint64_t elements(int blocks) const { return static_cast<uint64_t>(blocks) * b_.shape().piece; }
  Slice at(uint64_t base, int block) const { return b_.scratch(base + elements(block)); }
  // Calls visit(distance, blocks) for blocks that also follow each other in the user's buffer.
  template <typename Visit>
  void for_each_run(Visit visit) const {
    for (int begin = 0; begin < n_;) {
      int end = begin + 1;
      while (end < n_ && after(end) == after(end - 1) + 1) ++end;
      visit(begin, end - begin);
      begin = end;
    }
  }

 private:
  Builder b_;
  int n_;
  int me_;
};

int rounds_of(int ranks) { return std::bit_width(static_cast<unsigned>(ranks - 1)); }
// What a round moves by 1 << round ranks.
int blocks_of(int round, int ranks) { return std::min(1 << round, ranks - (1 << round)); }

}  // namespace

std::string unsuitable(const Shape& shape) {
  return shape.piece == shape.block ? "" : "it packs whole blocks: one piece only";
}

Schedule all_gather(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Packed packed(shape, rank);
  Builder& b = packed.builder();
  const uint64_t blocks = b.allocate(packed.elements(b.ranks()));
  b.copy({packed.at(blocks, 0)}, b.input(0), shape.piece);
  for (int round = 0; round < rounds_of(b.ranks()); ++round) {
    const int distance = 1 << round;
    b.put(packed.after(-distance), packed.at(blocks, 0), packed.at(blocks, distance),
          packed.elements(blocks_of(round, b.ranks())), Phase::kGather, round);
    b.wait(packed.after(distance), Phase::kGather, round);
  }
  packed.for_each_run([&](int distance, int count) {
    const auto block = static_cast<uint64_t>(packed.after(distance));
    b.copy({b.output(block * shape.block)}, packed.at(blocks, distance), packed.elements(count));
  });
  return b.take();
}

Schedule reduce_scatter(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Packed packed(shape, rank);
  Builder& b = packed.builder();
  const int n = b.ranks();
  if (n == 1) {
    b.copy({b.output(0)}, b.input(0), shape.piece);
    return b.take();
  }
  const uint64_t blocks = b.allocate(packed.elements(n));
  const uint64_t received = b.allocate(packed.elements(n - 1));
  packed.for_each_run([&](int distance, int count) {
    const auto block = static_cast<uint64_t>(packed.after(distance));
    b.copy({packed.at(blocks, distance)}, b.input(block * shape.block), packed.elements(count));
  });
  int used = 0;
  for (int round = rounds_of(n) - 1; round >= 0; --round) {
    const int distance = 1 << round;
    const int count = blocks_of(round, n);
    const Slice theirs = packed.at(received, used);
    b.put(packed.after(distance), packed.at(blocks, distance), theirs, packed.elements(count),
          Phase::kReduce, round);
    b.wait(packed.after(-distance), Phase::kReduce, round);
    const Slice mine = packed.at(blocks, 0);
    b.reduce({round == 0 ? b.output(0) : mine}, {mine, theirs}, packed.elements(count), round == 0);
    used += count;
  }
  return b.take();
}

Cost cost(const Shape& shape) {
  const Layout& layout = *shape.layout;
  const int n = layout.ranks();
  const bool gather = shape.collective == Collective::kAllGather;
  RoundCost rounds(layout);
  for (int i = 0; i < rounds_of(n); ++i) {
    const int round = gather ? i : rounds_of(n) - 1 - i;
    const int blocks = blocks_of(round, n);
    for (int position = 0; position < n; ++position) {
      const int from = layout.order[static_cast<size_t>(position)];
      const int other = position + (gather ? n - (1 << round) : 1 << round);
      rounds.message(from, layout.order[static_cast<size_t>(other % n)], blocks);
      if (!gather) rounds.reduce(from, blocks);
    }
    rounds.next_round();
  }
  Cost cost = rounds.total();
  cost.scratch = gather ? n : (n == 1 ? 0 : 2 * n - 1);
  return cost;
}

}  // namespace railccl::algorithms::bruck
