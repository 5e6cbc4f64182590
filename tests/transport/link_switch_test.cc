// The user's switch of a rail (Link::set_rail): the failover path without a fault, and no way back
// until it is switched on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/transport/link_soak.h"
#include "tests/transport/link_world.h"

namespace railccl::testing_support {
namespace {

using testing::HasSubstr;
constexpr TimeNs kEarly = 200 * kMicrosecond;

RailState state(LinkWorld& world, int side, size_t pair) {
  return world.link(side).stats()[pair].state;
}

void soak(LinkWorld& world, uint64_t seed, int puts = 50) {
  for (const int side : {0, 1}) {
    world.side(side).done.clear();
    world.side(side).notified.clear();
    world.side(side).messages.clear();
  }
  LinkSoak soak(world, {.seed = seed, .puts = puts});
  EXPECT_TRUE(soak.run(world.now() + 5 * kSecond)) << world.describe();
  world.run_for(20 * kMillisecond);
  soak.check();
}

class LinkSwitchBy : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Rank, LinkSwitchBy, testing::Values(0, 1));  // who switches

TEST_P(LinkSwitchBy, OffUnderLoadLosesNothingAndStaysOffUntilItIsOn) {
  const int by = GetParam();
  LinkWorld world(quick_world(21, 2));
  world.connect();
  world.network().schedule(kEarly, [&] { world.link(by).set_rail(0, false, world.now()); });
  soak(world, 21, 100);
  ASSERT_EQ(world.failures(0), 1u);
  ASSERT_EQ(world.failures(1), 1u);
  EXPECT_GT(world.link(0).stats()[0].replayed_bytes + world.link(1).stats()[0].replayed_bytes +
                world.link(0).stats()[1].replayed_bytes + world.link(1).stats()[1].replayed_bytes,
            0u);
  for (const int side : {0, 1}) {
    const LinkRailStats stats = world.link(side).stats()[0];
    EXPECT_EQ(stats.state, RailState::kDown);
    EXPECT_THAT(stats.last_error, HasSubstr(fmt::format("switched off by rank {}", by)));
  }
  // Not probed: no epoch begins, so none can fail.
  world.run_for(10 * kSecond);
  EXPECT_EQ(world.failures(0) + world.failures(1), 2u) << world.describe();
  EXPECT_EQ(world.recoveries(0) + world.recoveries(1), 0u);

  world.link(by).set_rail(0, true, world.now());
  ASSERT_TRUE(world.run_until([&] { return world.recoveries(0) == 1 && world.recoveries(1) == 1; },
                              world.now() + 50 * kMillisecond))
      << world.describe();
  const uint64_t before = world.link(0).stats()[0].bytes_sent;
  soak(world, 22, 100);
  EXPECT_GT(world.link(0).stats()[0].bytes_sent, before);
  EXPECT_EQ(state(world, 0, 0), RailState::kUp);
  world.close_both();
}

TEST_P(LinkSwitchBy, OneRailAloneCarriesEverything) {
  LinkWorld world(quick_world(23, 3));
  world.connect();
  for (const int alone : {0, 1, 2}) {
    for (int rail = 0; rail < 3; ++rail) {
      world.link(GetParam()).set_rail(rail, rail == alone, world.now());
    }
    ASSERT_TRUE(world.run_until(
        [&] {
          for (size_t pair = 0; pair < 3; ++pair) {
            const RailState now = state(world, 0, pair);
            const bool up = now == RailState::kUp || now == RailState::kRejoining;
            if (up != (static_cast<int>(pair) == alone)) return false;
          }
          return true;
        },
        world.now() + kSecond))
        << world.describe();
    const auto before = world.link(0).stats();
    soak(world, 24 + static_cast<uint64_t>(alone), 30);
    const auto after = world.link(0).stats();
    for (size_t pair = 0; pair < 3; ++pair) {
      EXPECT_EQ(after[pair].bytes_sent > before[pair].bytes_sent, static_cast<int>(pair) == alone);
    }
  }
  world.close_both();
}

TEST_P(LinkSwitchBy, BeforeTheLinkIsConnected) {
  LinkWorld world(quick_world(25, 2));
  world.link(GetParam()).set_rail(1, false, world.now());
  world.connect();
  soak(world, 25, 30);
  EXPECT_EQ(world.link(0).stats()[1].bytes_sent, 0u);
  EXPECT_EQ(world.link(1).stats()[1].bytes_sent, 0u);
  world.link(GetParam()).set_rail(1, true, world.now());
  EXPECT_TRUE(world.run_until([&] { return world.recoveries(0) == 1 && world.recoveries(1) == 1; },
                              world.now() + 50 * kMillisecond))
      << world.describe();
  world.close_both();
}

TEST(LinkSwitch, BothSidesMustHaveItOn) {
  LinkWorld world(quick_world(26, 2));
  world.connect();
  for (const int side : {0, 1}) world.link(side).set_rail(0, false, world.now());
  ASSERT_TRUE(world.run_until(
      [&] { return state(world, 0, 0) == RailState::kDown && world.failures(1) == 1; },
      world.now() + kSecond));
  world.link(0).set_rail(0, true, world.now());
  world.run_for(kSecond);
  EXPECT_EQ(state(world, 0, 0), RailState::kDown);
  EXPECT_EQ(state(world, 1, 0), RailState::kDown);
  world.link(1).set_rail(0, true, world.now());
  EXPECT_TRUE(world.run_until([&] { return world.recoveries(0) == 1 && world.recoveries(1) == 1; },
                              world.now() + 50 * kMillisecond))
      << world.describe();
  world.close_both();
}

TEST(LinkSwitch, NothingLeftInCommonEndsTheLinkInTimeAndSaysWhy) {
  LinkWorldOptions options = quick_world(27, 2);
  options.link.link_timeout_ns = 300 * kMillisecond;
  LinkWorld world(options);
  world.connect();
  world.link(0).set_rail(0, false, world.now());
  world.link(1).set_rail(1, false, world.now());
  ASSERT_TRUE(world.run_until(
      [&] { return world.side(0).failed == 1 && world.side(1).failed == 1; }, 2 * kSecond))
      << world.describe();
  EXPECT_THAT(
      std::string(world.side(0).failure.message()),
      testing::AllOf(HasSubstr("switched off by rank 0"), HasSubstr("switched off by rank 1")));
}

// Switches and faults at random times, in each other's fences and ways back.
TEST(LinkSwitch, RandomSwitchesAmongFaultsOverManySeeds) {
  uint64_t failures = 0;
  uint64_t recoveries = 0;
  for (uint64_t seed = 1; seed <= 200 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    const size_t rails = 2 + seed % 3;
    LinkWorld world(quick_world(seed, rails));
    world.connect();
    std::mt19937_64 random(seed);
    for (int i = 0; i < 10; ++i) {
      const int side = static_cast<int>(random() % 2);
      const int rail = static_cast<int>(random() % rails);
      const bool on = random() % 2 == 0;
      world.network().schedule(random() % (8 * kMillisecond), [&world, side, rail, on] {
        world.link(side).set_rail(rail, on, world.now());
      });
    }
    world.network().schedule(9 * kMillisecond, [&] {
      for (int rail = 0; rail < static_cast<int>(rails); ++rail) {
        for (const int side : {0, 1}) world.link(side).set_rail(rail, true, world.now());
      }
    });
    for (const SimFault& fault : random_faults({.seed = seed,
                                 .rails = static_cast<int>(2 * rails),
                                 .faults = static_cast<int>(seed % 4),
                                 .begin = 50 * kMicrosecond,
                                 .end = 8 * kMillisecond})) {
      world.network().inject(fault);
    }
    LinkSoak soak(world, {.seed = seed});
    EXPECT_TRUE(soak.run(20 * kSecond)) << world.describe();
    world.run_for(20 * kMillisecond);
    soak.check();
    failures += world.failures(0) + world.failures(1);
    recoveries += world.recoveries(0) + world.recoveries(1);
    world.close_both();
  }
  // Something must have happened, or the test says nothing.
  EXPECT_GT(failures, 400u);
  EXPECT_GT(recoveries, 400u);
}

}  // namespace
}  // namespace railccl::testing_support
