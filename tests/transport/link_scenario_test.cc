// The cases of a failing rail that design.md names, each with random traffic in both directions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/transport/link_soak.h"
#include "tests/transport/link_world.h"

namespace railccl::testing_support {
namespace {

using Kind = SimFault::Kind;

struct Scenario {
  std::string name;
  std::vector<SimFault> faults;  // rail numbers: 0.. of rank 0, then those of rank 1
  size_t rails = 2;
  bool fails_over = true;  // at least one side must have seen a failure
  bool control_path = true;
  TimeNs latency_ns = 5 * kMicrosecond;
};
void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

std::string scenario_name(const testing::TestParamInfo<Scenario>& info) { return info.param.name; }

class LinkScenario : public testing::TestWithParam<Scenario> {};

TEST_P(LinkScenario, EverythingArrivesOnce) {
  const Scenario& scenario = GetParam();
  uint64_t replayed = 0;
  for (uint64_t seed = 1; seed <= 10 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    LinkWorldOptions options = quick_world(seed, scenario.rails);
    options.control_path = scenario.control_path;
    options.latency_ns = scenario.latency_ns;
    LinkWorld world(options);
    world.connect();
    for (SimFault fault : scenario.faults) {
      fault.at += seed * 17 * kMicrosecond;
      world.network().inject(fault);
    }
    LinkSoak soak(world, {.seed = seed});
    EXPECT_TRUE(soak.run(20 * kSecond)) << world.describe();
    world.run_for(50 * kMillisecond);
    soak.check();
    if (scenario.fails_over) {
      EXPECT_GT(world.failures(0) + world.failures(1), 0u) << world.describe();
    } else {
      EXPECT_EQ(world.failures(0) + world.failures(1), 0u) << world.describe();
    }
    for (int side = 0; side < 2; ++side) {
      for (const LinkRailStats& stats : world.link(side).stats()) replayed += stats.replayed_bytes;
    }
    world.close_both();
  }
  EXPECT_EQ(replayed > 0, scenario.fails_over);
}

constexpr TimeNs kEarly = 200 * kMicrosecond;

std::vector<SimFault> flapping(int rail) {
  std::vector<SimFault> faults;
  for (int i = 0; i < 10; ++i) {
    const TimeNs at = kEarly + static_cast<TimeNs>(i) * 700 * kMicrosecond;
    faults.push_back({.kind = Kind::kCut, .at = at, .rail = rail});
    faults.push_back({.kind = Kind::kRestore, .at = at + 200 * kMicrosecond, .rail = rail});
  }
  return faults;
}

INSTANTIATE_TEST_SUITE_P(
    Cases, LinkScenario,
    testing::Values(
        Scenario{"Cut", {{.kind = Kind::kCut, .at = kEarly, .rail = 0}}},
        Scenario{"CutOfTheReceiversPort", {{.kind = Kind::kCut, .at = kEarly, .rail = 2}}},
        Scenario{"Blackhole", {{.kind = Kind::kMute, .at = kEarly, .rail = 0}}},
        Scenario{"BlackholeOneWay", {{.kind = Kind::kDeaf, .at = kEarly, .rail = 0}}},
        Scenario{"FailureSeenByTheSenderOnly",
                 {{.kind = Kind::kFailEndpoints, .at = kEarly, .rail = 0}}},
        Scenario{"FailureSeenByTheOtherOnly",
                 {{.kind = Kind::kFailEndpoints, .at = kEarly, .rail = 2}}},
        Scenario{"AcknowledgesAndDies",
                 {{.kind = Kind::kAcknowledgeOnly,
                   .at = kEarly,
                   .rail = 0,
                   .duration = 100 * kMicrosecond}}},
        Scenario{"LandsButCompletesWithAnError",
                 {{.kind = Kind::kLoseCompletions, .at = kEarly, .rail = 0}}},
        Scenario{
            "LateWrites",
            {{.kind = Kind::kLateWrites, .at = kEarly, .rail = 0, .duration = 300 * kMicrosecond}},
            2,
            true,
            true,
            50 * kMicrosecond},
        Scenario{"SecondFailureDuringTheReplay",
                 {{.kind = Kind::kCut, .at = kEarly, .rail = 0},
                  {.kind = Kind::kCut, .at = kEarly + 40 * kMicrosecond, .rail = 1},
                  {.kind = Kind::kMute, .at = kEarly + 90 * kMicrosecond, .rail = 5}},
                 4},
        Scenario{"BothSidesLoseDifferentRails",
                 {{.kind = Kind::kCut, .at = kEarly, .rail = 0},
                  {.kind = Kind::kCut, .at = kEarly, .rail = 4}},
                 3},
        Scenario{"AllRailsGoneAndBack",
                 {{.kind = Kind::kCut, .at = kEarly, .rail = 0},
                  {.kind = Kind::kMute, .at = kEarly + 30 * kMicrosecond, .rail = 3},
                  {.kind = Kind::kRestore, .at = 60 * kMillisecond, .rail = 0},
                  {.kind = Kind::kRestore, .at = 80 * kMillisecond, .rail = 3}}},
        Scenario{"OnlyRailGoneAndBack",
                 {{.kind = Kind::kMute, .at = kEarly, .rail = 0},
                  {.kind = Kind::kRestore, .at = 30 * kMillisecond, .rail = 0}},
                 1},
        Scenario{"Flapping", flapping(0)},
        Scenario{"WithoutAControlPath",
                 {{.kind = Kind::kMute, .at = kEarly, .rail = 0},
                  {.kind = Kind::kRestore, .at = 20 * kMillisecond, .rail = 0}},
                 2,
                 true,
                 false},
        Scenario{"NotificationsTwice", {{.kind = Kind::kDuplicate, .rail = 0}}, 2, false},
        Scenario{"PutsOvertakeEachOther",
                 {{.kind = Kind::kJitter, .rail = 0, .duration = 300 * kMicrosecond}},
                 2,
                 false},
        Scenario{
            "SlowRail", {{.kind = Kind::kRate, .at = kEarly, .rail = 0, .value = 0.1}}, 2, false}),
    scenario_name);

}  // namespace
}  // namespace railccl::testing_support
