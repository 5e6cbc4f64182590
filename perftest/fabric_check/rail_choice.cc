#include "perftest/fabric_check/rail_choice.h"

#include <algorithm>
#include <thread>

namespace railccl::perftest::fabric {
namespace {

using Stats = std::vector<railcclRailStats_t>;
constexpr std::chrono::milliseconds kWaitForRails{1};
constexpr Seconds kRailPatience{3};

bool all_as(const Stats& rails, const std::vector<bool>& wanted, bool on) {
  return std::ranges::all_of(rails, [&](const railcclRailStats_t& rail) {
    const auto index = static_cast<size_t>(rail.rail);
    if (index >= wanted.size() || wanted[index] != on) return true;
    return on ? is_up(rail) : rail.state == railcclRailDown;
  });
}

// On every rank, and known to every rank.
Outcome<bool> all_agree(Session& session, bool mine) {
  std::vector<double> value = {mine ? 1.0 : 0.0};
  PERFTEST_TRY(session.combine(value, ncclMin));
  return value[0] != 0;
}

Outcome<void> set_rails(Session& session, const std::vector<bool>& wanted, bool on) {
  for (size_t rail = 0; rail < wanted.size(); ++rail) {
    if (wanted[rail] == on) PERFTEST_TRY(session.set_rail(static_cast<int>(rail), on));
  }
  return {};
}

}  // namespace

Outcome<bool> await_rails(Session& session, Seconds patience,
                          const std::function<bool(const Stats&)>& done) {
  const Deadline begin = Clock::now();
  while (true) {
    const auto rails = session.rails();
    if (!rails) return tl::unexpected(rails.error());
    if (done(*rails)) return true;
    if (seconds_since(begin) >= patience.count()) return false;
    std::this_thread::sleep_for(kWaitForRails);
  }
}

Outcome<std::vector<bool>> usable_rails(Session& session, int rails) {
  const std::vector<bool> all(static_cast<size_t>(rails), true);
  const auto settled =
      await_rails(session, kRailPatience, [&](const Stats& now) { return all_as(now, all, true); });
  if (!settled) return tl::unexpected(settled.error());
  const auto stats = session.rails();
  if (!stats) return tl::unexpected(stats.error());
  std::vector<double> up(all.size(), 0);
  for (const railcclRailStats_t& rail : *stats) {
    const auto index = static_cast<size_t>(rail.rail);
    if (index < up.size() && is_up(rail)) up[index] = 1;
  }
  PERFTEST_TRY(session.combine(up, ncclMin));
  std::vector<bool> usable;
  for (const double value : up) usable.push_back(value != 0);
  return usable;
}

// First on, then off: the ranks are never without a rail in common.
Outcome<void> choose_rails(Session& session, const std::vector<bool>& wanted) {
  for (const bool on : {true, false}) {
    PERFTEST_TRY(set_rails(session, wanted, on));
    const auto mine = await_rails(session, kRailPatience,
                                  [&](const Stats& now) { return all_as(now, wanted, on); });
    if (!mine) return tl::unexpected(mine.error());
    const auto all = all_agree(session, *mine);
    if (!all) return tl::unexpected(all.error());
    if (!*all) {
      return failure(Exit::kLibrary, "a rail that was switched {} was not {} after {} s",
                     on ? "on" : "off", on ? "up" : "down", kRailPatience.count());
    }
  }
  return {};
}

}  // namespace railccl::perftest::fabric
