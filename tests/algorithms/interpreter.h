// Runs schedules on real numbers, one thread for all ranks, in a random interleaving: an oracle
// that shares no code with the verifier. Puts move their data at a random moment between issue and
// end; pieces overlap; memory of a rank is taken away when the rank ends.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "algorithms/schedule.h"

namespace railccl {

using Combine = std::function<uint64_t(uint64_t, uint64_t)>;

class Interpreter {
 public:
  // The operation that `shape` (with block and piece, but for channel) describes.
  Interpreter(const Algorithm& algorithm, const Shape& shape, int depth, Combine combine,
              uint32_t seed);

  // Empty, or what went wrong.
  std::string run();
  // The value that every rank puts into element `index` of its input.
  static uint64_t input_value(int rank, uint64_t index) {
    return (static_cast<uint64_t>(rank) + 1) * 1'000'003 + index * index + index;
  }
  const std::vector<uint64_t>& output(int rank) const {
    return users_[static_cast<size_t>(rank)].output;
  }

 private:
  static constexpr uint64_t kGarbage = 0xdeadbeefdeadbeef;
  struct User {
    std::vector<uint64_t> input;
    std::vector<uint64_t> output;  // in place: the larger of the two stands for both
    bool ended = false;
    bool taken = false;  // touched by another rank after its end
  };
  struct PendingPut {
    int to = 0;
    uint64_t piece = 0;
    const Step* step = nullptr;
    const Schedule* schedule = nullptr;
  };
  // One slot of one rank, through all its pieces.
  struct Lane {
    std::vector<uint64_t> pieces;
    size_t lap = 0;
    size_t pc = 0;
    std::vector<PendingPut> puts;
    std::vector<uint64_t> scratch;
  };
  using Notification = std::tuple<int, int, uint64_t, uint32_t>;  // from, to, piece, tag

  const Schedule& schedule(int rank, uint64_t piece) const;
  bool advance(int rank, size_t lane);
  bool step_once(int rank, Lane& lane, size_t lane_number);
  void finish_put(int rank, Lane& lane, size_t lane_number, size_t put);
  uint64_t* place(int self, const Slice& slice, uint64_t piece, size_t lane);
  void combine(int rank, const Schedule& schedule, const Step& step, uint64_t piece, size_t lane);

  Shape shape_;
  Combine combine_;
  std::mt19937 random_;
  size_t channels_;
  size_t depth_;
  uint64_t pieces_ = 0;
  std::vector<std::vector<Schedule>> full_;  // by channel, by rank
  std::vector<std::vector<Schedule>> last_;
  std::vector<User> users_;
  std::vector<std::vector<Lane>> lanes_;  // by rank; channel * depth + slot
  std::set<Notification> notifications_;
};

}  // namespace railccl
