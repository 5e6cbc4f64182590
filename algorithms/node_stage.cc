#include "algorithms/node_stage.h"

#include <algorithm>

#include "algorithms/buffers.h"

namespace railccl::algorithms {
namespace {

uint64_t larger_blocks(const Shape& shape) {
  switch (shape.collective) {
    case Collective::kAllReduce:
    case Collective::kBroadcast:
    case Collective::kReduce:
      return 1;
    default:
      return static_cast<uint64_t>(shape.layout->ranks());
  }
}

}  // namespace

int columns_of(const Layout& layout) {
  size_t columns = layout.ranks_of[0].size();
  for (const auto& members : layout.ranks_of) columns = std::min(columns, members.size());
  return static_cast<int>(columns);
}

void node_barrier(Builder& b, Phase phase) {
  const auto ranks = b.local_ranks();
  const int n = static_cast<int>(ranks.size());
  const auto at = [&](int index) { return ranks[static_cast<size_t>((index + n) % n)]; };
  for (int distance = 1, round = 0; distance < n; distance *= 2, ++round) {
    b.signal(at(b.local_index() + distance), phase, round);
    b.wait(at(b.local_index() - distance), phase, round);
  }
}

NodeStage::NodeStage(Builder& b) : b_(b), columns_(columns_of(b.layout())) {
  if (!b.all_land_in_output()) b.allocate(larger_blocks(b.shape()) * b.max_piece());
}

Chunk NodeStage::blocks_of(int node) const {
  const auto& members = b_.layout().ranks_of[static_cast<size_t>(node)];
  Chunk chunk;
  for (size_t i = static_cast<size_t>(column()); i < members.size();
       i += static_cast<size_t>(columns_)) {
    chunk.push_back(
        {.block = static_cast<uint64_t>(members[i]), .part = b_.piece(), .number = members[i]});
  }
  return chunk;
}

int NodeStage::most_blocks() const {
  size_t largest = 0;
  for (const auto& members : b_.layout().ranks_of) largest = std::max(largest, members.size());
  return (static_cast<int>(largest) + columns_ - 1) / columns_;
}

Group NodeStage::owners(int first_node) const {
  const Layout& layout = b_.layout();
  const int nodes = layout.nodes();
  Group group;
  for (int i = 0; i < nodes; ++i) {
    const auto& members = layout.ranks_of[static_cast<size_t>((first_node + i) % nodes)];
    group.ranks.push_back(members[static_cast<size_t>(column())]);
  }
  group.me = (b_.node() - first_node + nodes) % nodes;
  return group;
}

Slice NodeStage::user(BufferId buffer, int rank, const Extent& extent) const {
  const bool blocks = user_blocks(b_.shape(), rank, buffer) > 1;
  const uint64_t offset = (blocks ? extent.block * b_.shape().block : 0) + extent.part.begin;
  return buffer == BufferId::kInput ? b_.input(offset, rank) : b_.output(offset, rank);
}

Slice NodeStage::mirror(int rank, const Extent& extent) const {
  return b_.scratch(extent.block * b_.max_piece() + extent.part.begin, rank);
}

Slice NodeStage::source(int rank, const Extent& extent) const {
  const bool reachable = rank == b_.rank() || !staged();
  return reachable ? user(BufferId::kInput, rank, extent) : mirror(rank, extent);
}

Slice NodeStage::result(int rank, const Extent& extent) const {
  const bool reachable = rank == b_.rank() || !staged();
  return reachable ? user(BufferId::kOutput, rank, extent) : mirror(rank, extent);
}

Slices NodeStage::all_sources(const Extent& extent) const {
  Slices sources;
  for (const int rank : b_.local_ranks()) sources.push_back(source(rank, extent));
  return sources;
}

Slices NodeStage::all_results(const Extent& extent) const {
  Slices results;
  for (const int rank : b_.local_ranks()) results.push_back(result(rank, extent));
  return results;
}

void NodeStage::mirror_input(uint64_t block, uint64_t blocks) {
  if (!staged()) return;
  for (uint64_t i = 0; i < blocks; ++i) {
    const Extent extent{.block = block + i, .part = b_.piece()};
    b_.copy({mirror(b_.rank(), extent)}, user(BufferId::kInput, b_.rank(), extent),
            extent.part.count);
  }
}

void NodeStage::enter() {
  if (staged()) node_barrier(b_, Phase::kEnter);
}

void NodeStage::fetch(const Extent& extent) {
  if (!staged()) return;
  b_.copy({user(BufferId::kOutput, b_.rank(), extent)}, mirror(b_.rank(), extent),
          extent.part.count);
}

}  // namespace railccl::algorithms
