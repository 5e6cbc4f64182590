// Flat rings and chains over all ranks, in node order, so that each node is entered and left once.
#include <algorithm>

#include "algorithms/algorithms.h"
#include "algorithms/exchange.h"

namespace railccl::algorithms::ring {
namespace {

// All ranks beginning with the root and its node. The order is rotated, within the root's node and
// by nodes, so that as few hops as possible leave a node.
Group chain_of(const Builder& b) {
  const Layout& layout = b.layout();
  const int root = b.shape().root;
  Group chain{.lands_in_output = b.all_land_in_output()};
  const int nodes = layout.nodes();
  const int root_node = layout.node_of[static_cast<size_t>(root)];
  for (int i = 0; i < nodes; ++i) {
    const auto& members = layout.ranks_of[static_cast<size_t>((root_node + i) % nodes)];
    chain.ranks.insert(chain.ranks.end(), members.begin(), members.end());
  }
  const auto root_index = layout.local_index[static_cast<size_t>(root)];
  const auto root_members = layout.ranks_of[static_cast<size_t>(root_node)].size();
  std::rotate(chain.ranks.begin(), chain.ranks.begin() + root_index,
              chain.ranks.begin() + static_cast<std::ptrdiff_t>(root_members));
  const auto me = std::find(chain.ranks.begin(), chain.ranks.end(), b.rank());
  chain.me = static_cast<int>(me - chain.ranks.begin());
  return chain;
}

GroupData whole_piece(const Builder& b) {
  return {.sources = [&b](const Extent& e) { return Slices{b.input(e.part.begin)}; },
          .results = [&b](const Extent& e) { return Slices{b.output(e.part.begin)}; },
          .landing = [&b](const Extent& e) { return b.output(e.part.begin); }};
}

// Chunk i is the block of the i-th rank of the ring.
Chunks blocks_of(const Group& group, const Builder& b) {
  return {.of =
              [&group, &b](int index) {
                return Chunk{{.block = static_cast<uint64_t>(group.at(index)),
                              .part = b.piece(),
                              .number = group.at(index)}};
              },
          .slot = b.max_piece()};
}

}  // namespace

std::string unsuitable(const Shape& shape) {
  return shape.layout->ranks() > kMaxStepRanks ? "a ring of so many ranks has too many steps" : "";
}

Schedule all_reduce(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  const Group group = all_ranks(b);
  const GroupData data = whole_piece(b);
  const Chunks chunks{
      .of =
          [&](int i) {
            return Chunk{{.part = even_part(b.piece(), group.size(), i), .number = i}};
          },
      .slot = largest_part(b.max_piece(), group.size())};
  ring_reduce_scatter(b, group, chunks, data, false);
  ring_all_gather(b, group, chunks, data);
  return b.take();
}

Schedule reduce_scatter(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  const Group group = all_ranks(b);
  GroupData data;
  data.sources = [&](const Extent& e) { return Slices{b.input(e.block * shape.block)}; };
  data.results = [&](const Extent&) { return Slices{b.output(0)}; };
  ring_reduce_scatter(b, group, blocks_of(group, b), data, true);
  return b.take();
}

Schedule all_gather(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  const Group group = all_ranks(b);
  GroupData data;
  data.landing = [&](const Extent& e) { return b.output(e.block * shape.block); };
  data.results = [&](const Extent& e) { return Slices{data.landing(e)}; };
  b.copy({b.output(static_cast<uint64_t>(rank) * shape.block)}, b.input(0), shape.piece);
  ring_all_gather(b, group, blocks_of(group, b), data);
  return b.take();
}

Schedule broadcast(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  const Group chain = chain_of(b);
  chain_broadcast(b, chain, {.part = b.piece()}, b.max_piece(), whole_piece(b));
  return b.take();
}

Schedule reduce(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  const Group chain = chain_of(b);
  chain_reduce(b, chain, {.part = b.piece()}, b.max_piece(), whole_piece(b));
  return b.take();
}

namespace {

// A message takes `hops` steps along the ring; where it starts, the most of them leave a node, or
// stay in one.
void count_hops(const Layout& layout, int hops, Cost& cost) {
  const int n = layout.ranks();
  const auto leaves = [&](int position) {
    const auto rank = [&](int p) { return layout.order[static_cast<size_t>(p % n)]; };
    return layout.same_node(rank(position), rank(position + 1)) ? 0 : 1;
  };
  int leaving = 0;
  for (int i = 0; i < hops; ++i) leaving += leaves(i);
  int most = leaving;
  int least = leaving;
  for (int start = 1; start < n; ++start) {
    leaving += leaves(start - 1 + hops) - leaves(start - 1);
    most = std::max(most, leaving);
    least = std::min(least, leaving);
  }
  cost.latency_steps_inter = static_cast<uint32_t>(most);
  cost.latency_steps_local = static_cast<uint32_t>(hops - least);
}

}  // namespace

Cost cost(const Shape& shape) {
  const Layout& layout = *shape.layout;
  const int n = layout.ranks();
  const int nodes = layout.nodes();
  Cost cost;
  if (n == 1) return cost;
  const bool between_nodes = nodes > 1;
  const bool inside_nodes = nodes < n;
  const bool staged = inside_nodes && !shape.direct;
  const double share = (n - 1.0) / n;
  const auto sends = [&](double amount) {
    cost.bytes_sent_inter = between_nodes ? amount : 0;
    cost.bytes_sent_local = inside_nodes ? amount : 0;
    cost.largest_put = between_nodes ? 1 : 0;
  };
  switch (shape.collective) {
    case Collective::kAllReduce:
      count_hops(layout, 2 * (n - 1), cost);
      sends(2 * share);
      cost.largest_put /= n;
      cost.elements_reduced = share;
      cost.scratch = 1 + (staged ? share : 0);
      break;
    case Collective::kReduceScatter:
      count_hops(layout, n - 1, cost);
      sends(n - 1);
      cost.elements_reduced = n - 1;
      cost.scratch = n;
      break;
    case Collective::kAllGather:
      count_hops(layout, n - 1, cost);
      sends(n - 1);
      cost.scratch = staged ? n - 1 : 0;
      break;
    default:  // chains
      cost.latency_steps_inter = static_cast<uint32_t>(nodes - 1);
      cost.latency_steps_local = static_cast<uint32_t>(n - nodes);
      sends(1);
      cost.path_elements_inter = nodes - 1;
      cost.elements_reduced = shape.collective == Collective::kReduce ? 1 : 0;
      cost.scratch = shape.collective == Collective::kReduce || staged ? 1 : 0;
      break;
  }
  return cost;
}

}  // namespace railccl::algorithms::ring
