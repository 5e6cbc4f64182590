// What one local rail carried, over all peers of a communicator. Pure.
#pragma once

#include <map>
#include <span>

#include "src/core/peers.h"

namespace railccl {

struct RailTotals {
  // Amounts are sums, stall_ns_max the longest, rate and latency the largest, `slow` of any peer;
  // the state is the worst towards any peer; `standby`: towards all.
  LinkRailStats sum;
};

std::map<int, RailTotals> rail_totals(std::span<const Peers::RailReport> reports);  // by local rail

}  // namespace railccl
