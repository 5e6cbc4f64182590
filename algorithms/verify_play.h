// The verifier's last part: plays the laps of one slot in one interleaving. Pure; used by
// verifier.cc only.
#pragma once

#include <deque>
#include <optional>
#include <unordered_map>

#include "algorithms/accesses.h"
#include "algorithms/contents.h"
#include "algorithms/notifications.h"
#include "algorithms/verifier.h"

namespace railccl::algorithms {

class Player {
 public:
  // One lap: its schedules, what its waits take within it, and what its credits come from
  // (unset for the first lap).
  struct Lap {
    const ScheduleSet* set = nullptr;
    const Notifications* notifications = nullptr;
    const Notifications* credits = nullptr;
    bool check_contents = false;  // not for a lap that repeats another
  };
  explicit Player(const std::vector<Lap>& laps);

  Status run();
  // Messages on the longest path of the first lap.
  uint32_t longest_path_inter() const;
  uint32_t longest_path_local() const;
  // Elements that are put to other nodes one after another, at most, in the first lap.
  uint64_t path_elements_inter() const;

 private:
  struct Path {
    uint32_t inter = 0;
    uint32_t local = 0;
    uint64_t elements_inter = 0;
  };
  struct Message {
    Knowledge knowledge;
    Path path;
  };
  using Messages = std::unordered_map<uint64_t, Message>;  // by sender and step

  Status run_lap(uint32_t number);
  Status run_rank(int rank);
  Status play(int rank, uint32_t step_number, const Step& step);
  bool may_pass(int rank, uint32_t step_number, const Step& step) const;
  void wait(int rank, uint32_t step_number, const Step& step);
  void notify(int rank, uint32_t step_number, const Step& step);
  Status use_memory(int rank, uint32_t step_number, const Step& step);
  Access access_of(int rank, uint32_t step_number, const Step& step) const;
  void find_credits();
  Status deadlock() const;
  const std::vector<Step>& steps(int rank) const {
    return lap_->set->ranks[static_cast<size_t>(rank)].steps;
  }

  const std::vector<Lap>& laps_;
  Clocks clocks_;
  Accesses accesses_;
  std::optional<Contents> contents_;
  const Lap* lap_ = nullptr;
  uint32_t lap_number_ = 0;
  std::vector<uint32_t> lap_begin_;  // by rank: position of the lap's first step
  std::vector<uint32_t> next_;       // by rank: step to play
  std::deque<int> runnable_;
  Messages messages_;
  Messages credits_;       // of this lap, for the next
  Messages last_credits_;  // of the lap before
  std::vector<Path> paths_;
  std::vector<std::vector<uint32_t>> credit_steps_;  // by rank, of this lap, ascending
};

}  // namespace railccl::algorithms
