#include "src/core/rail_watch.h"

#include <algorithm>
#include <cmath>

namespace railccl {
namespace {

constexpr double kLeastLevel = 1.0 / 64;
// A level stands for rates between half of it and the whole; beyond these it is another one.
constexpr double kFallBelow = 0.4;
constexpr double kRiseAbove = 1.2;
// A rail that was busy for less of the time was not asked for what it can carry.
constexpr double kBusy = 0.25;

double level_of(double ratio) {
  if (ratio <= kLeastLevel) return kLeastLevel;
  return std::min(1.0, std::exp2(std::ceil(std::log2(ratio))));
}

struct Totals {
  double known = 0;
  double left = 0;
};
using Tiers = std::map<int, Totals>;

// What the rails of the best tier that has any left carry, as a part of what the best tier would.
double share_of(const Tiers& tiers) {
  const auto left = std::find_if(tiers.begin(), tiers.end(),
                                 [](const auto& tier) { return tier.second.left > 0; });
  return left == tiers.end() ? 0 : left->second.left / tiers.begin()->second.known;
}

}  // namespace

void RailWatch::measure(const RailObservation& observation, TimeNs passed, Entry& entry) const {
  const uint64_t sent = observation.bytes_sent - std::min(observation.bytes_sent, entry.bytes_sent);
  entry.bytes_sent = observation.bytes_sent;
  const double could = observation.measured_bytes_per_second * static_cast<double>(passed) /
                       static_cast<double>(kSecond);
  if (sent < options_.sample_bytes || static_cast<double>(sent) < kBusy * could) return;
  const double ratio = observation.measured_bytes_per_second / observation.known_bytes_per_second;
  const double level = std::max(entry.told.level, kLeastLevel);
  const bool beyond = ratio < kFallBelow * level || (level < 1 && ratio > kRiseAbove * level);
  entry.measured = beyond ? level_of(ratio) : level;
}

void RailWatch::update(const RailObservation& observation, TimeNs now, TimeNs passed,
                       Entry& entry) {
  measure(observation, passed, entry);
  const Condition seen{.up = observation.up, .level = observation.slow ? 0 : entry.measured};
  if (seen != entry.seen) {
    entry.seen = seen;
    entry.since = now;
  }
  const TimeNs lasting = seen.up != entry.told.up ? options_.lasting_ns : options_.rate_lasting_ns;
  if (now - entry.since >= lasting) entry.told = seen;
  pending_ = pending_ || seen != entry.told;
}

RailView RailWatch::view_of(std::span<const RailObservation> observations) const {
  RailView view;
  std::map<int, Tiers> by_peer;
  for (const RailObservation& each : observations) {
    const Condition& told = entries_.at({each.peer, each.rail}).told;
    Totals& totals = by_peer[each.peer][each.tier];
    totals.known += each.known_bytes_per_second;
    if (told.up) totals.left += each.known_bytes_per_second * told.level;
  }
  for (const RailObservation& each : observations) {
    // A rail that stands by is no part of the whole.
    if (each.tier > by_peer[each.peer].begin()->first) continue;
    const Condition& told = entries_.at({each.peer, each.rail}).told;
    const uint32_t bit = uint32_t{1} << (each.rail & 31);
    if (!told.up) view.down |= bit;
    if (told.up && told.level < 1) view.slow |= bit;
  }
  if (view.whole()) return view;
  double share = 2;
  for (const auto& [peer, tiers] : by_peer) {
    if (share_of(tiers) >= share) continue;
    share = share_of(tiers);
    view.towards = peer;
  }
  view.bytes_per_second = static_cast<uint64_t>(share * rank_rate_);
  return view;
}

bool RailWatch::look(std::span<const RailObservation> observations, TimeNs now) {
  const TimeNs passed = now - std::min(now, last_look_);
  last_look_ = now;
  next_look_ = now + options_.pause_ns;
  pending_ = false;
  for (const RailObservation& each : observations) {
    update(each, now, passed, entries_[{each.peer, each.rail}]);
  }
  const RailView view = view_of(observations);
  if (view == view_) return false;
  view_ = view;
  return true;
}

}  // namespace railccl
