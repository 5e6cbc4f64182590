// Counters of the system that say something about a rail: errors, drops, retries, congestion marks,
// from sysfs. Reads files; `root` is "/" but in tests.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "perftest/fabric_check/fabric.h"

namespace railccl::perftest::fabric {

// By name: "mlx5_0/1 symbol_error", "eth1 rx_dropped". What is not there, or not a number, is not
// in it.
using Counters = std::map<std::string, uint64_t>;

// Of a verbs device's port, and of the network interfaces that it or a TCP rail has.
Counters read_counters(const std::string& root, const Rail& rail);

// "bit errors on the wire: cable or transceiver"; empty for a counter that is not looked at.
std::string_view counter_meaning(std::string_view name);

// Those that have grown.
std::vector<CounterChange> moved(int node, int rail, const Counters& before, const Counters& after);

}  // namespace railccl::perftest::fabric
