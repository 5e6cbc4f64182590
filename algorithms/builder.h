// Writes a schedule step by step, so that an algorithm's file reads like its textbook description.
// It takes care of what every algorithm needs: an empty put becomes a signal, empty copies and
// copies of a place onto itself (in place) vanish, a rank's own memory is kSelf. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/schedule.h"
#include "algorithms/split.h"

namespace railccl::algorithms {

using Slices = std::vector<Slice>;

// What a notification is about; with a step number it makes a tag.
enum class Phase : uint32_t { kReduce, kGather, kEnter, kLeave, kRelease, kFold, kUnfold };
constexpr uint32_t kPhases = 8;
// Step numbers, of flat rings and pairwise exchanges, are below the rank count.
constexpr int kMaxStepRanks = static_cast<int>(kMaxTags / kPhases);

class Builder {
 public:
  Builder(const Shape& shape, int rank) : shape_(shape), rank_(rank) {}

  const Shape& shape() const { return shape_; }
  const Layout& layout() const { return *shape_.layout; }
  int rank() const { return rank_; }
  int ranks() const { return layout().ranks(); }
  int node() const { return layout().node_of[static_cast<size_t>(rank_)]; }
  int local_index() const { return layout().local_index[static_cast<size_t>(rank_)]; }
  std::span<const int> local_ranks() const {
    return layout().ranks_of[static_cast<size_t>(node())];
  }
  Part piece() const { return {.begin = 0, .count = shape_.piece}; }
  uint64_t max_piece() const { return shape_.max_piece == 0 ? shape_.piece : shape_.max_piece; }
  // Whether puts between this rank and `peer` may go to kOutput; else they go to kScratch and the
  // receiver copies.
  bool lands_in_output(int peer) const { return shape_.direct || !layout().same_node(peer, rank_); }
  // Whether that is so between any two ranks; the same on all ranks.
  bool all_land_in_output() const { return shape_.direct || layout().nodes() == ranks(); }

  // --- places ---
  Slice input(uint64_t offset, int owner = kSelf) const {
    return place(BufferId::kInput, offset, owner);
  }
  Slice output(uint64_t offset, int owner = kSelf) const {
    return place(BufferId::kOutput, offset, owner);
  }
  Slice scratch(uint64_t offset, int owner = kSelf) const {
    return place(BufferId::kScratch, offset, owner);
  }
  // Offset of a new region of scratch. Peers know a region's offset when all ranks allocate the
  // same before it.
  uint64_t allocate(uint64_t elements);

  // --- steps ---
  void put(int peer, Slice src, Slice dst, uint64_t count, Phase phase, int step = 0);
  void signal(int peer, Phase phase, int step = 0);
  void wait(int peer, Phase phase, int step = 0);
  // What this rank did with the scratch that `peer` puts into is over; the peer's next lap may go
  // on.
  void release_to(int peer, int step = 0);
  void wait_released_by(int peer, int step = 0);
  // A reduction of one source is a copy.
  void reduce(const Slices& dsts, const Slices& srcs, uint64_t count, bool final);
  void copy(const Slices& dsts, Slice src, uint64_t count);

  Schedule take() { return std::move(schedule_); }

 private:
  Slice place(BufferId buffer, uint64_t offset, int owner) const {
    return {.owner = owner == rank_ ? kSelf : owner, .buffer = buffer, .offset = offset};
  }
  bool same_place(const Slice& a, const Slice& b) const;
  void add(Step step, const Slices& dsts, const Slices& srcs);

  const Shape& shape_;
  int rank_;
  Schedule schedule_;
};

}  // namespace railccl::algorithms
