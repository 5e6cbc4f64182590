// Which rails a session uses, set by all of its ranks together through the library's own switch.
#pragma once

#include <string>
#include <vector>

#include "perftest/fabric_check/session.h"

namespace railccl::perftest::fabric {

// By rail number: can be used between all ranks of the session (that this rank has links to).
// Waits a while for rails that are on their way up. Collective.
Outcome<std::vector<bool>> usable_rails(Session& session, int rails);

// Switches exactly the wanted rails on, and waits until they are up and the others down on every
// rank; the error names a rail that does not come up. Collective; `wanted` has at least one.
Outcome<void> choose_rails(Session& session, const std::vector<bool>& wanted);

// Waits until `done`, given this rank's rails, for at most `patience`; whether it was so. Local.
Outcome<bool> await_rails(Session& session, Seconds patience,
                          const std::function<bool(const std::vector<railcclRailStats_t>&)>& done);

inline bool is_up(const railcclRailStats_t& rail) {
  return rail.state == railcclRailUp || rail.state == railcclRailRejoining;
}

}  // namespace railccl::perftest::fabric
