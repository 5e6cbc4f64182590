// How one operation will be run on this rank: the tuner's decision and the schedules that follow
// from it. Depends on the call and the communicator only, so it is cached (PlanCache). Pure.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "algorithms/schedule.h"
#include "src/base/status.h"
#include "src/core/call.h"
#include "src/core/tuner.h"
#include "src/core/user_schedule.h"

namespace railccl {

struct PlanInputs {
  int rank = 0;
  std::shared_ptr<const Layout> layout;
  bool direct = false;         // ranks of a node reach each other's buffers
  uint64_t scratch_bytes = 0;  // of a rank, divided among the slots
  uint64_t eager_bytes = 0;    // puts up to this travel as messages
  int depth = 4;
  uint64_t piece_bytes = 0;
  int min_channels = 1;
  int max_channels = 2;
  MachineModel machine;  // that is in force
  Retune retune = Retune::kExact;
  MachineModel machine_at_start;
  std::vector<std::vector<std::string>> allowed;      // by Collective; empty: all algorithms
  std::shared_ptr<const UserSchedule> user_schedule;  // null: none
};

struct OperationPlan {
  struct Channel {
    Schedule main;
    Schedule tail;  // for a last piece that is shorter; else empty
  };
  Decision decision;
  uint64_t piece_elements = 0;
  uint64_t pieces = 0;
  uint64_t tail_elements = 0;  // 0: the last piece is whole
  int channels = 1;
  int depth = 1;
  uint64_t slot_bytes = 0;
  std::vector<int> remote_peers;    // of other nodes, that the schedules name
  std::vector<int> remote_senders;  // of them, those that are waited for
  std::vector<int> large_senders;   // of them, those that may put more than eager_bytes
  std::vector<int> local_peers;     // of this node, that the schedules name
  bool puts_large = false;          // this rank puts more than eager_bytes to another node

  // Pieces that are under way at a time.
  uint64_t slots() const { return static_cast<uint64_t>(channels) * static_cast<uint64_t>(depth); }
  const Schedule& schedule(uint64_t piece) const {
    const Channel& channel = by_channel[piece % static_cast<uint64_t>(channels)];
    return tail_elements != 0 && piece + 1 == pieces ? channel.tail : channel.main;
  }
  std::vector<Channel> by_channel;
};

// What the tuner was asked for this call; also for explaining.
Shape shape_of(const Call& call, const PlanInputs& inputs, bool in_place);
// The same on all ranks, whether this one's output is its input or not.
Result<Decision> decide(const Call& call, const PlanInputs& inputs);
// Whether the result is the same bit for bit in whatever order the ranks' values are combined.
bool is_order_free(const Call& call);
// Whether the choice for this call stays that of the start, whatever the machine is like by now.
bool choice_is_kept(const Call& call, const PlanInputs& inputs);
// Whether the user's own schedule runs it.
bool uses_user_schedule(const Call& call, const PlanInputs& inputs);
Result<OperationPlan> make_plan(const Call& call, const PlanInputs& inputs, bool in_place);

// The plans used last, so that a training step costs no planning. One thread at a time.
class PlanCache {
 public:
  explicit PlanCache(PlanInputs inputs) : inputs_(std::move(inputs)) {}
  const PlanInputs& inputs() const { return inputs_; }
  // For the plans that are asked for from now on.
  void set_machine(const MachineModel& machine);
  Result<std::shared_ptr<const OperationPlan>> get(const Call& call, bool in_place);

 private:
  struct Entry {
    Fingerprint fingerprint;
    bool in_place = false;
    std::shared_ptr<const OperationPlan> plan;
  };
  static constexpr size_t kEntries = 64;
  PlanInputs inputs_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace railccl
