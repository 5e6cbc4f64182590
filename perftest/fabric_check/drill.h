// The failover drill: a rail is switched off on every rank in the middle of a collective, and given
// back; every result is checked. Collective over all ranks of a session.
#pragma once

#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/session.h"

namespace railccl::perftest::fabric {

struct DrillPlan {
  int rail = 0;
  uint64_t bytes = 4 << 20;  // of an AllReduce
  int operations = 10;       // in each part: before, while it is off, after it is back
  double back_within_s = 10;
};

// The same on every rank.
Outcome<DrillResult> run_drill(Session& session, const DrillPlan& plan);

}  // namespace railccl::perftest::fabric
