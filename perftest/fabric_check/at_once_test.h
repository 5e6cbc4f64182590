// All nodes sending to all others at the same time, deliberately: what is left of their rates shows
// how much the fabric is oversubscribed.
#pragma once

#include "perftest/fabric_check/session.h"

namespace railccl::perftest::fabric {

struct AtOncePlan {
  std::vector<bool> rails;  // to be used, by rail number
  double seconds = 0.5;     // about so long
  double gbps = 1;          // that a node is expected to send
};

struct AtOnceSide {
  double gbps = 0;     // of all nodes together; the same on every rank
  uint64_t wrong = 0;  // elements that this rank received
};

// Collective over a session of one rank per node.
Outcome<AtOnceSide> measure_at_once(Session& session, const AtOncePlan& plan);

}  // namespace railccl::perftest::fabric
