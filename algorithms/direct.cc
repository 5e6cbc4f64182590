// Every pair of ranks that has something to exchange does so directly. AlltoAll goes by distance
// (pairwise exchange: R. Thakur et al., IJHPCA 19, 2005), so that at any time each rank has one
// peer in mind; everything is under way at once.
#include <algorithm>

#include "algorithms/algorithms.h"
#include "algorithms/builder.h"

namespace railccl::algorithms::direct {
namespace {

uint64_t block_of(const Shape& shape, int rank) {
  return static_cast<uint64_t>(rank) * shape.block;
}

int at_distance(const Builder& b, int distance) {
  return (b.rank() + distance + b.ranks()) % b.ranks();
}

// Where a local peer's data waits to be copied, when it cannot put to the output.
Slice staging_slot(const Builder& b, int sender) {
  const auto index = b.layout().local_index[static_cast<size_t>(sender)];
  return b.scratch(static_cast<uint64_t>(index) * b.max_piece());
}

void send(Builder& b, int peer, Slice from, Slice to) {
  const bool output = b.lands_in_output(peer);
  if (!output) b.wait_released_by(peer);
  b.put(peer, from, output ? to : staging_slot(b, b.rank()), b.shape().piece, Phase::kGather);
}

void receive(Builder& b, int peer, Slice to) {
  b.wait(peer, Phase::kGather);
  if (b.lands_in_output(peer)) return;
  b.copy({to}, staging_slot(b, peer), b.shape().piece);
  b.release_to(peer);
}

void allocate_staging(Builder& b) {
  if (!b.all_land_in_output()) b.allocate(b.local_ranks().size() * b.max_piece());
}

}  // namespace

std::string unsuitable(const Shape& shape) {
  const bool all_to_all = shape.collective == Collective::kAllToAll;
  return all_to_all && shape.in_place ? "AlltoAll cannot be done in place" : "";
}

Schedule all_to_all(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  allocate_staging(b);
  for (int distance = 1; distance < b.ranks(); ++distance) {
    const int peer = at_distance(b, distance);
    send(b, peer, b.input(block_of(shape, peer)), b.output(block_of(shape, rank)));
  }
  b.copy({b.output(block_of(shape, rank))}, b.input(block_of(shape, rank)), shape.piece);
  for (int distance = 1; distance < b.ranks(); ++distance) {
    const int peer = at_distance(b, -distance);
    receive(b, peer, b.output(block_of(shape, peer)));
  }
  return b.take();
}

Schedule gather(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  allocate_staging(b);
  if (rank != shape.root) {
    send(b, shape.root, b.input(0), b.output(block_of(shape, rank)));
    return b.take();
  }
  b.copy({b.output(block_of(shape, rank))}, b.input(0), shape.piece);
  for (int distance = 1; distance < b.ranks(); ++distance) {
    const int peer = at_distance(b, distance);
    receive(b, peer, b.output(block_of(shape, peer)));
  }
  return b.take();
}

Schedule scatter(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  allocate_staging(b);
  if (rank != shape.root) {
    receive(b, shape.root, b.output(0));
    return b.take();
  }
  for (int distance = 1; distance < b.ranks(); ++distance) {
    const int peer = at_distance(b, distance);
    send(b, peer, b.input(block_of(shape, peer)), b.output(0));
  }
  b.copy({b.output(0)}, b.input(block_of(shape, rank)), shape.piece);
  return b.take();
}

Cost cost(const Shape& shape) {
  const Layout& layout = *shape.layout;
  const bool all_to_all = shape.collective == Collective::kAllToAll;
  Cost cost;
  size_t largest = 0;
  size_t smallest = layout.node_of.size();
  for (const auto& members : layout.ranks_of) {
    largest = std::max(largest, members.size());
    smallest = std::min(smallest, members.size());
  }
  const auto root_node = static_cast<size_t>(layout.node_of[static_cast<size_t>(shape.root)]);
  const size_t near = all_to_all ? largest : layout.ranks_of[root_node].size();
  const size_t far = layout.node_of.size() - (all_to_all ? smallest : near);
  const bool one_each = shape.collective == Collective::kGather;
  cost.latency_steps_inter = far > 0 ? 1 : 0;
  cost.largest_put = far > 0 ? 1 : 0;
  cost.latency_steps_local = near > 1 ? 1 : 0;
  cost.bytes_sent_inter = static_cast<double>(one_each ? std::min<size_t>(far, 1) : far);
  cost.bytes_sent_local = static_cast<double>(one_each ? std::min<size_t>(near - 1, 1) : near - 1);
  const bool staged = !shape.direct && layout.nodes() < layout.ranks();
  cost.scratch = staged ? static_cast<double>(largest) : 0;
  return cost;
}

}  // namespace railccl::algorithms::direct
