// What the ranks of a simulated run do, and on what: ranks, rails, settings of the links, a few
// collective operations. Made from a seed; pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/types.h"
#include "src/core/plan.h"
#include "src/core/rail_plan.h"
#include "src/core/rail_watch.h"
#include "tests/simulate/fault.h"
#include "transport/link.h"
#include "transport/sim/sim_network.h"

namespace railccl::simulate {

struct OperationSpec {
  Collective collective = Collective::kAllReduce;
  DataType type = DataType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int root = 0;  // kSendRecv: every rank sends to the one so many ranks further on
  uint64_t count = 1;
  bool in_place = false;
  std::string algorithm;      // of the catalog
  std::string alternative;    // for pictures of the rails with an odd number; empty: the same
  std::vector<TimeNs> pause;  // by rank, before it calls this
};

struct Workload {
  uint64_t seed = 0;
  int ranks = 2;
  std::vector<int> nodes;            // by rank; at least two different ones
  bool direct = false;               // ranks of a node reach each other's buffers
  std::vector<SimRailConfig> rails;  // of every rank; names are filled in per rank
  std::vector<int> rails_used;       // by rank: the others are not told to its peers
  int standby_rails = 0;  // the last so many of `rails` are the last resort, as TCP beside RDMA is
  CrossRail cross = CrossRail::kAligned;
  LinkOptions link;
  uint64_t eager_bytes = 0;
  uint64_t scratch_bytes = 0;
  uint64_t credit_bytes = 0;
  uint64_t piece_bytes = 0;
  int depth = 1;
  int channels = 1;
  TimeNs control_delay = 0;
  TimeNs silence_timeout_ns = 0;
  int roots = 1;  // of the bootstrap
  int tree_arity = 8;
  std::vector<TimeNs> arrival;  // by rank: when it comes to the meeting
  RailWatchOptions rail_watch;
  TimeNs picture_pause_ns = 0;   // between two pictures of the rails
  bool keep_registered = false;  // user buffers stay registered between operations
  std::vector<OperationSpec> operations;

  PlanInputs plan_inputs(int rank) const;
  // What is allowed for this operation while a picture with an odd number is in force.
  PlanInputs alternative_inputs(const OperationSpec& spec) const;
  // Rails that all ranks have.
  int common_rails() const;
  Tolerated tolerated() const {
    return {.common_rails = common_rails(), .silence_timeout_ns = silence_timeout_ns};
  }
  // The call, without buffers.
  Call call(const OperationSpec& spec) const;
  Call call(size_t index) const { return call(operations[index]); }
};

Workload make_workload(uint64_t seed);
std::string to_string(const Workload& workload);

// The input of `rank` in operation `index`: a function of the seed.
std::vector<std::byte> input_data(const Workload& workload, size_t index, int rank);

}  // namespace railccl::simulate
