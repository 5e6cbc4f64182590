// AlltoAll and Scatter inside one node: each rank loads what it wants from the others' inputs, or
// from mirrors of them in scratch where inputs cannot be reached. (Gather has no better way than
// direct.cc's, where everyone stores to the root; the other collectives are hierarchical.cc.)
#include <bit>

#include "algorithms/algorithms.h"
#include "algorithms/node_stage.h"

namespace railccl::algorithms::local {
namespace {

Extent block_of(const Builder& b, int rank) {
  return {.block = static_cast<uint64_t>(rank), .part = b.piece()};
}

}  // namespace

std::string unsuitable(const Shape& shape) {
  if (shape.layout->nodes() > 1) return "the ranks are on several nodes";
  return direct::unsuitable(shape);
}

Schedule all_to_all(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  NodeStage stage(b);
  stage.mirror_input(0, static_cast<uint64_t>(b.ranks()));
  stage.enter();
  for (int i = 0; i < b.ranks(); ++i) {
    const int peer = (rank + i) % b.ranks();  // not all from the same one at once
    b.copy({b.output(static_cast<uint64_t>(peer) * shape.block)},
           stage.source(peer, block_of(b, rank)), shape.piece);
  }
  stage.leave();
  return b.take();
}

Schedule scatter(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  NodeStage stage(b);
  if (rank != shape.root) {
    if (!shape.direct) b.wait(shape.root, Phase::kEnter);
    b.copy({b.output(0)}, stage.source(shape.root, block_of(b, rank)), shape.piece);
    b.signal(shape.root, Phase::kLeave);
    return b.take();
  }
  stage.mirror_input(0, static_cast<uint64_t>(b.ranks()));
  const auto for_others = [&](auto visit) {
    for (int peer = 0; peer < b.ranks(); ++peer) {
      if (peer != rank) visit(peer);
    }
  };
  if (!shape.direct) for_others([&](int peer) { b.signal(peer, Phase::kEnter); });
  b.copy({b.output(0)}, b.input(static_cast<uint64_t>(rank) * shape.block), shape.piece);
  for_others([&](int peer) { b.wait(peer, Phase::kLeave); });
  return b.take();
}

Cost cost(const Shape& shape) {
  const int n = shape.layout->ranks();
  Cost cost;
  if (n == 1) return cost;
  const bool scatter = shape.collective == Collective::kScatter;
  const auto barrier = static_cast<uint32_t>(std::bit_width(static_cast<unsigned>(n - 1)));
  cost.latency_steps_local = (scatter ? 1 : barrier) * (shape.direct ? 1 : 2);
  cost.bytes_sent_local = scatter ? 1 : n - 1;
  cost.scratch = shape.direct ? 0 : n;
  return cost;
}

}  // namespace railccl::algorithms::local
