// Which rail of one node talks to which rail of another: a pure decision over both sides' lists, so
// that both sides come to the same pairs without asking.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/core/node_info.h"
#include "transport/link.h"

namespace railccl {

enum class CrossRail : uint8_t {
  kAligned,  // rail k to rail k only
  kAllowed,  // and the rails that one side has more go to the other's, in turn
};

// LinkOptions::Pair::tier: TCP is the last resort, after everything else.
int tier_of(TransportKind transport);

// Pairs as `self` sees them; the peer, asked the other way round, gets the same pairs in the same
// order. Rails pair by transport, then by position among the rails of that transport; of the pairs
// of a transport those come first that are nearest to the cores of both sides. Empty: the two have
// no rail in common.
std::vector<LinkOptions::Pair> plan_pairs(const std::vector<RailSummary>& self,
                                          const std::vector<RailSummary>& peer, CrossRail cross);

// Which rails have no use between the two; empty: all are in a pair.
std::string explain_unpaired(const std::vector<RailSummary>& self,
                             const std::vector<RailSummary>& peer,
                             const std::vector<LinkOptions::Pair>& pairs);

// Why there is no pair: "rank 0 has 2 tcp rails, rank 3 has none".
std::string explain_no_pair(int self_rank, const std::vector<RailSummary>& self, int peer_rank,
                            const std::vector<RailSummary>& peer);

}  // namespace railccl
