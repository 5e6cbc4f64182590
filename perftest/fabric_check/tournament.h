// Who measures with whom, and when: every pair of nodes once, in rounds in which a node is in at
// most one pair, so that measurements of a round share no NIC. Pure.
#pragma once

#include <utility>
#include <vector>

namespace railccl::perftest::fabric {

using NodePair = std::pair<int, int>;  // the smaller node first
using Round = std::vector<NodePair>;

// A round-robin tournament by the circle method: n - 1 rounds for an even number of nodes, n for an
// odd one, where each node pauses once.
std::vector<Round> tournament(int nodes);

// Every pair, both smaller node first and pairs in order.
std::vector<NodePair> all_pairs(int nodes);

// At most `limit` of them, spread evenly over all; 0: all.
std::vector<Round> spread_rounds(std::vector<Round> rounds, int limit);

}  // namespace railccl::perftest::fabric
