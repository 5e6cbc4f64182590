#include "perftest/fabric_check/drill.h"

#include <algorithm>
#include <thread>

#include "perftest/fabric_check/checked_collective.h"
#include "perftest/fabric_check/rail_choice.h"
#include "perftest/fabric_check/statistics.h"

namespace railccl::perftest::fabric {
namespace {

using Stats = std::vector<railcclRailStats_t>;

class Drill {
 public:
  Drill(Session& session, const DrillPlan& plan, CheckedCollective& collective)
      : session_(session), plan_(plan), collective_(collective) {
    result_.rail = plan.rail;
  }

  Outcome<DrillResult> run() {
    for (int i = 0; i < plan_.operations; ++i) PERFTEST_TRY(operate(before_));
    PERFTEST_TRY(switch_off());
    for (int i = 1; i < plan_.operations; ++i) PERFTEST_TRY(operate(during_));
    const auto down =
        await_all([](const railcclRailStats_t& rail) { return rail.state == railcclRailDown; });
    if (!down) return tl::unexpected(down.error());
    result_.went_down = *down;
    PERFTEST_TRY(switch_on());
    for (int i = 0; i < plan_.operations; ++i) PERFTEST_TRY(operate(during_));
    return finish();
  }

 private:
  // One checked operation; `in_the_middle` is done while it runs.
  Outcome<void> operate(std::vector<double>& times,
                        const std::function<Outcome<void>()>& in_the_middle = {}) {
    collective_.prepare();
    PERFTEST_TRY(session_.barrier());
    const Deadline begin = Clock::now();
    PERFTEST_TRY(collective_.begin());
    Outcome<void> done;
    if (in_the_middle) {
      // When the rails are at work, as far as earlier operations tell.
      std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(median(before_) / 3));
      done = in_the_middle();
    }
    PERFTEST_TRY(collective_.wait());
    PERFTEST_TRY(done);
    times.push_back(seconds_since(begin) * 1e3);
    ++result_.operations;
    wrong_ += collective_.count_wrong();
    return {};
  }

  Outcome<void> switch_off() {
    const auto replayed = replayed_bytes();
    if (!replayed) return tl::unexpected(replayed.error());
    replayed_before_ = *replayed;
    return operate(during_, [this] { return session_.set_rail(plan_.rail, false); });
  }

  // Operations go on until it is back on every rank.
  Outcome<void> switch_on() {
    const Deadline begin = Clock::now();
    PERFTEST_TRY(session_.set_rail(plan_.rail, true));
    while (true) {
      PERFTEST_TRY(operate(during_));
      const auto rails = session_.rails();
      if (!rails) return tl::unexpected(rails.error());
      std::vector<double> state = {is_as(*rails, is_up) ? 1.0 : 0.0,
                                   seconds_since(begin) < plan_.back_within_s ? 1.0 : 0.0};
      PERFTEST_TRY(session_.combine(state, ncclMin));
      result_.came_back = state[0] != 0;
      result_.back_after_ms = seconds_since(begin) * 1e3;
      if (result_.came_back || state[1] == 0) return {};
    }
  }

  bool is_as(const Stats& rails, bool (*wanted)(const railcclRailStats_t&)) const {
    return std::ranges::all_of(rails, [&](const railcclRailStats_t& rail) {
      return rail.rail != plan_.rail || wanted(rail);
    });
  }

  Outcome<bool> await_all(bool (*wanted)(const railcclRailStats_t&)) {
    const auto mine =
        await_rails(session_, Seconds(3), [&](const Stats& rails) { return is_as(rails, wanted); });
    if (!mine) return tl::unexpected(mine.error());
    std::vector<double> all = {*mine ? 1.0 : 0.0};
    PERFTEST_TRY(session_.combine(all, ncclMin));
    return all[0] != 0;
  }

  Outcome<uint64_t> replayed_bytes() {
    const auto rails = session_.rails();
    if (!rails) return tl::unexpected(rails.error());
    uint64_t bytes = 0;
    for (const railcclRailStats_t& rail : *rails) bytes += rail.replayed_bytes;
    return bytes;
  }

  Outcome<DrillResult> finish() {
    const auto replayed = replayed_bytes();
    if (!replayed) return tl::unexpected(replayed.error());
    result_.usual_ms = median(before_);
    std::vector<double> sums = {static_cast<double>(wrong_),
                                static_cast<double>(*replayed - replayed_before_)};
    PERFTEST_TRY(session_.combine(sums, ncclSum));
    std::vector<double> longest = {*std::ranges::max_element(during_) - result_.usual_ms,
                                   result_.usual_ms};
    PERFTEST_TRY(session_.combine(longest, ncclMax));
    result_.wrong = static_cast<uint64_t>(sums[0]);
    result_.replayed_bytes = static_cast<uint64_t>(sums[1]);
    result_.stall_ms = std::max(longest[0], 0.0);
    result_.usual_ms = longest[1];
    return result_;
  }

  Session& session_;
  const DrillPlan& plan_;
  CheckedCollective& collective_;
  DrillResult result_;
  std::vector<double> before_;  // ms of each operation
  std::vector<double> during_;  // from the switch on
  uint64_t wrong_ = 0;
  uint64_t replayed_before_ = 0;
};

}  // namespace

Outcome<DrillResult> run_drill(Session& session, const DrillPlan& plan) {
  auto collective = CheckedCollective::create(all_reduce(), session, plan.bytes);
  if (!collective) return tl::unexpected(collective.error());
  return Drill(session, plan, *collective).run();
}

}  // namespace railccl::perftest::fabric
