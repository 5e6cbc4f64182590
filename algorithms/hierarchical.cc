// Reduce inside each node, exchange between nodes in as many columns as the smallest node has
// ranks, spread inside each node: each byte crosses the network as seldom as on any ring, and the
// local part is one pass over memory, fused into the exchange (node_stage.h). Rail-aligned: column
// c talks to column c only (S. Cho et al., BlueConnect, MLSys 2019; J. L. Träff, S. Hunold,
// Decomposing MPI collectives for exploiting multi-lane communication, CLUSTER 2020). With one node
// there is nothing between nodes: every rank reduces its own part of all inputs and stores it to
// all outputs.
#include "algorithms/algorithms.h"
#include "algorithms/exchange.h"
#include "algorithms/node_stage.h"

namespace railccl::algorithms::hierarchical {
namespace {

// AllReduce, Broadcast, Reduce: the columns that another rank owned.
void fetch_columns_of_others(NodeStage& stage) {
  for (int column = 0; column < stage.columns(); ++column) {
    if (!stage.owner() || column != stage.column()) stage.fetch(stage.part_of(column));
  }
}

GroupData node_data(const Builder& b, const NodeStage& stage) {
  return {.sources = [&stage](const Extent& e) { return stage.all_sources(e); },
          .results = [&stage](const Extent& e) { return stage.all_results(e); },
          .landing =
              [&b](const Extent& e) { return b.output(e.block * b.shape().block + e.part.begin); }};
}

Schedule all_reduce_by(const Shape& shape, int rank, void (*exchange)(Builder&, const NodeStage&)) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  NodeStage stage(b);
  stage.mirror_input(0, 1);
  stage.enter();
  if (stage.owner()) exchange(b, stage);
  stage.leave();
  fetch_columns_of_others(stage);
  return b.take();
}

void exchange_by_ring(Builder& b, const NodeStage& stage) {
  const Group group = stage.owners();
  const Part part = stage.part_of(stage.column()).part;
  const Chunks chunks{
      .of = [&](int i) { return Chunk{{.part = even_part(part, group.size(), i), .number = i}}; },
      .slot = largest_part(stage.part_slot(), group.size())};
  const GroupData data = node_data(b, stage);
  ring_reduce_scatter(b, group, chunks, data, false);
  ring_all_gather(b, group, chunks, data);
}

void exchange_by_doubling(Builder& b, const NodeStage& stage) {
  doubling_all_reduce(b, stage.owners(), stage.part_of(stage.column()), stage.part_slot(),
                      node_data(b, stage));
}

void exchange_by_halving(Builder& b, const NodeStage& stage) {
  halving_all_reduce(b, stage.owners(), stage.part_of(stage.column()), stage.part_slot(),
                     node_data(b, stage));
}

Chunks node_chunks(const Builder& b, const NodeStage& stage) {
  return {.of = [&stage](int node) { return stage.blocks_of(node); },
          .slot = static_cast<uint64_t>(stage.most_blocks()) * b.max_piece()};
}

using ExchangeOfChunks = void (*)(Builder&, const Group&, const Chunks&, const GroupData&);

Schedule all_gather_by(const Shape& shape, int rank, ExchangeOfChunks exchange) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  NodeStage stage(b);
  stage.mirror_input(static_cast<uint64_t>(rank), 1);
  stage.enter();
  if (stage.owner()) {
    for (const Extent& extent : stage.blocks_of(b.node())) {
      const int from = static_cast<int>(extent.block);
      b.copy(stage.all_results(extent), stage.source(from, extent), extent.part.count);
    }
    exchange(b, stage.owners(), node_chunks(b, stage), node_data(b, stage));
  }
  stage.leave();
  for (int r = 0; r < b.ranks(); ++r) {
    if (stage.owns_block_of(r)) continue;
    stage.fetch({.block = static_cast<uint64_t>(r), .part = b.piece()});
  }
  return b.take();
}

Schedule reduce_scatter_by(const Shape& shape, int rank, ExchangeOfChunks exchange) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  NodeStage stage(b);
  stage.mirror_input(0, static_cast<uint64_t>(b.ranks()));
  stage.enter();
  if (stage.owner()) {
    GroupData data = node_data(b, stage);
    data.results = [&](const Extent& e) {
      return Slices{stage.result(static_cast<int>(e.block), e)};
    };
    exchange(b, stage.owners(), node_chunks(b, stage), data);
  }
  stage.leave();
  if (!stage.owns_block_of(rank)) {
    stage.fetch({.block = static_cast<uint64_t>(rank), .part = b.piece()});
  }
  return b.take();
}

void scatter_by_ring(Builder& b, const Group& group, const Chunks& chunks, const GroupData& data) {
  ring_reduce_scatter(b, group, chunks, data, group.size() > 1);
}

}  // namespace

Schedule all_reduce(const Shape& shape, int rank) {
  return all_reduce_by(shape, rank, exchange_by_ring);
}

Schedule all_reduce_doubling(const Shape& shape, int rank) {
  return all_reduce_by(shape, rank, exchange_by_doubling);
}

Schedule all_reduce_halving(const Shape& shape, int rank) {
  return all_reduce_by(shape, rank, exchange_by_halving);
}

Schedule all_gather(const Shape& shape, int rank) {
  return all_gather_by(shape, rank, ring_all_gather);
}

Schedule all_gather_doubling(const Shape& shape, int rank) {
  return all_gather_by(shape, rank, doubling_all_gather);
}

Schedule reduce_scatter(const Shape& shape, int rank) {
  return reduce_scatter_by(shape, rank, scatter_by_ring);
}

Schedule reduce_scatter_halving(const Shape& shape, int rank) {
  return reduce_scatter_by(shape, rank, halving_reduce_scatter);
}

Schedule broadcast(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  NodeStage stage(b);
  const int root_node = shape.layout->node_of[static_cast<size_t>(shape.root)];
  if (rank == shape.root) stage.mirror_input(0, 1);
  stage.enter();
  if (stage.owner()) {
    GroupData data = node_data(b, stage);
    data.sources = [&](const Extent& e) { return Slices{stage.source(shape.root, e)}; };
    chain_broadcast(b, stage.owners(root_node), stage.part_of(stage.column()), stage.part_slot(),
                    data);
  }
  stage.leave();
  fetch_columns_of_others(stage);
  return b.take();
}

Schedule reduce(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  NodeStage stage(b);
  const int root_node = shape.layout->node_of[static_cast<size_t>(shape.root)];
  stage.mirror_input(0, 1);
  stage.enter();
  if (stage.owner()) {
    GroupData data = node_data(b, stage);
    data.results = [&](const Extent& e) { return Slices{stage.result(shape.root, e)}; };
    chain_reduce(b, stage.owners(root_node), stage.part_of(stage.column()), stage.part_slot(),
                 data);
  }
  stage.leave();
  if (rank == shape.root) fetch_columns_of_others(stage);
  return b.take();
}

}  // namespace railccl::algorithms::hierarchical
