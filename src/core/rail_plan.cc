#include "src/core/rail_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace railccl {
namespace {

constexpr std::array<TransportKind, 4> kTransports = {TransportKind::kVerbs, TransportKind::kUcx,
                                                      TransportKind::kTcp, TransportKind::kSim};

std::vector<int> rails_of(const std::vector<RailSummary>& rails, TransportKind transport) {
  std::vector<int> indices;
  for (const RailSummary& rail : rails) {
    if (rail.transport == transport) indices.push_back(rail.index);
  }
  return indices;
}

int distance_of(const std::vector<RailSummary>& rails, int index) {
  const auto found = std::find_if(rails.begin(), rails.end(),
                                  [&](const RailSummary& rail) { return rail.index == index; });
  return found == rails.end() ? 0 : found->distance;
}

std::string count_rails(const std::vector<RailSummary>& rails) {
  std::string text;
  for (const TransportKind transport : kTransports) {
    const size_t count = rails_of(rails, transport).size();
    if (count == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, transport_name(transport));
  }
  return text.empty() ? "no rail" : text;
}

}  // namespace

int tier_of(TransportKind transport) { return transport == TransportKind::kTcp ? 1 : 0; }

std::vector<LinkOptions::Pair> plan_pairs(const std::vector<RailSummary>& self,
                                          const std::vector<RailSummary>& peer, CrossRail cross) {
  std::vector<LinkOptions::Pair> pairs;
  for (const TransportKind transport : kTransports) {
    const std::vector<int> mine = rails_of(self, transport);
    const std::vector<int> theirs = rails_of(peer, transport);
    if (mine.empty() || theirs.empty()) continue;
    const size_t aligned = std::min(mine.size(), theirs.size());
    const size_t count =
        cross == CrossRail::kAllowed ? std::max(mine.size(), theirs.size()) : aligned;
    for (size_t i = 0; i < count; ++i) {
      pairs.push_back({.local_rail = mine[i % mine.size()],
                       .peer_rail = theirs[i % theirs.size()],
                       .tier = tier_of(transport)});
    }
    const auto distance = [&](const LinkOptions::Pair& pair) {
      return distance_of(self, pair.local_rail) + distance_of(peer, pair.peer_rail);
    };
    std::stable_sort(
        pairs.end() - static_cast<std::ptrdiff_t>(count), pairs.end(),
        [&](const auto& one, const auto& other) { return distance(one) < distance(other); });
  }
  return pairs;
}

std::string explain_unpaired(const std::vector<RailSummary>& self,
                             const std::vector<RailSummary>& peer,
                             const std::vector<LinkOptions::Pair>& pairs) {
  std::set<int> used_here;
  std::set<int> used_there;
  for (const LinkOptions::Pair& pair : pairs) {
    used_here.insert(pair.local_rail);
    used_there.insert(pair.peer_rail);
  }
  if (used_here.size() == self.size() && used_there.size() == peer.size()) return {};
  return fmt::format("{} of {} rails here ({}) and {} of {} there ({})",
                     self.size() - used_here.size(), self.size(), count_rails(self),
                     peer.size() - used_there.size(), peer.size(), count_rails(peer));
}

std::string explain_no_pair(int self_rank, const std::vector<RailSummary>& self, int peer_rank,
                            const std::vector<RailSummary>& peer) {
  return fmt::format("rank {} has {}, rank {} has {}", self_rank, count_rails(self), peer_rank,
                     count_rails(peer));
}

}  // namespace railccl
