// One pair of nodes, measured by both of its leaders: each rail alone, then all together, both
// ways, with the data checked.
#pragma once

#include <vector>

#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/session.h"

namespace railccl::perftest::fabric {

struct PairPlan {
  int rails = 1;
  double seconds = 0.25;  // about so long for each way and rail
};

// What one side saw: rate and latency of its own sending, wrong elements of what it received.
struct PairSide {
  std::vector<PairValue> rails;
  PairValue all_rails;
};

// Always gives what there is: a rail that fails is in its value, a partner that does not answer in
// those that were not reached.
PairSide measure_pair(Session& session, const PairPlan& plan);

}  // namespace railccl::perftest::fabric
