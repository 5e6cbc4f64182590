// The verifier's clocks: which steps of all ranks are known to be over at a step, and whether two
// accesses to the same memory are ordered. Vector clocks (C. Fidge 1988, F. Mattern 1989), one per
// rank while the steps are played in a linear extension of happens-before; a message carries the
// clock of its sender. Pure; used by verifier.cc only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace railccl::algorithms {

// A step of a rank, counted over all laps, with one more position at the end of each lap.
struct Moment {
  int rank = 0;
  uint32_t position = 0;
};

// What a message tells its receiver.
struct Knowledge {
  std::shared_ptr<const std::vector<uint32_t>> clock;
  Moment sent;
};

class Clocks {
 public:
  explicit Clocks(int ranks);

  // `rank` is about to play its step at `position`; all its earlier ones are over.
  void advance(int rank, uint32_t position) { now_[static_cast<size_t>(rank)] = position; }
  Knowledge send(int rank) const {
    const auto r = static_cast<size_t>(rank);
    return {known_[r], {rank, now_[r]}};
  }
  void receive(int rank, const Knowledge& message);
  // Whether the step is over before what `rank` does now.
  bool knows(int rank, Moment moment) const {
    const auto r = static_cast<size_t>(rank);
    if (moment.rank == rank) return moment.position < now_[r];
    return moment.position < (*known_[r])[static_cast<size_t>(moment.rank)];
  }

 private:
  std::vector<std::shared_ptr<std::vector<uint32_t>>> known_;  // steps of each rank that are over
  std::vector<uint32_t> now_;
};

}  // namespace railccl::algorithms
