// What hierarchical algorithms do inside a node. The piece (or the blocks) are dealt to columns, as
// many as the smallest node has ranks; the rank with local index c owns column c of its node: it
// reads that part of the sources of all ranks of the node, exchanges with the owners of column c of
// the other nodes, and stores the result for all ranks of the node.
//
// Where buffers are reachable (Shape::direct) owners load and store them. Where not, each rank has
// a mirror of its larger buffer in scratch: it copies its input there first, owners load and store
// mirrors, and each rank copies what it wants to its output last. Pure.
#pragma once

#include "algorithms/builder.h"
#include "algorithms/exchange.h"

namespace railccl::algorithms {

// Ranks of the smallest node.
int columns_of(const Layout& layout);

// All ranks of the node wait for each other (dissemination: D. Hensgen, R. Finkel, U. Manber, Two
// algorithms for barrier synchronization, IJPP 17, 1988).
void node_barrier(Builder& b, Phase phase);

class NodeStage {
 public:
  // First thing after the builder, on all ranks: the mirror is at the beginning of scratch.
  explicit NodeStage(Builder& b);

  int columns() const { return columns_; }
  int column() const { return b_.local_index(); }  // of an owner
  bool owner() const { return column() < columns_; }
  int column_of(int rank) const {
    return b_.layout().local_index[static_cast<size_t>(rank)] % columns_;
  }
  bool owns_block_of(int rank) const { return column_of(rank) == column(); }
  Extent part_of(int column) const { return {.part = even_part(b_.piece(), columns_, column)}; }
  // Elements that hold any column's part of any piece.
  uint64_t part_slot() const { return largest_part(b_.max_piece(), columns_); }
  // The blocks of the ranks of a node that belong to this owner's column.
  Chunk blocks_of(int node) const;
  int most_blocks() const;
  // The owners of this column by node, beginning with `first_node`.
  Group owners(int first_node = 0) const;

  // Where this rank reads the extent from another's input, and stores it for another's output. A
  // block counts in the larger of the two buffers.
  Slice source(int rank, const Extent& extent) const;
  Slice result(int rank, const Extent& extent) const;
  Slices all_sources(const Extent& extent) const;
  Slices all_results(const Extent& extent) const;

  // This rank's input, which begins at `block` of the larger buffer, to its mirror.
  void mirror_input(uint64_t block, uint64_t blocks);
  // Others have mirrored theirs, and fetched what this lap overwrites; nothing when direct.
  void enter();
  // All are through with others' memory.
  void leave() { node_barrier(b_, Phase::kLeave); }
  // What an owner stored for this rank, from its mirror to its output.
  void fetch(const Extent& extent);

 private:
  bool staged() const { return !b_.shape().direct && b_.local_ranks().size() > 1; }
  Slice user(BufferId buffer, int rank, const Extent& extent) const;
  Slice mirror(int rank, const Extent& extent) const;

  Builder& b_;
  int columns_;
};

}  // namespace railccl::algorithms
