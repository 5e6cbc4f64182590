// Pairs of different tiers in one link: what stands by carries nothing but probes, everything when
// nothing better is left, and nothing again afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/transport/forwarding_rail.h"
#include "tests/transport/link_soak.h"
#include "tests/transport/link_world.h"

namespace railccl::testing_support {
namespace {

using Kind = SimFault::Kind;

constexpr TimeNs kFault = 200 * kMicrosecond;

// `better` rails of tier 0, then one of tier 1.
LinkWorldOptions tiered_world(uint64_t seed, size_t better) {
  LinkWorldOptions options = quick_world(seed, better + 1);
  options.tiers.assign(better, 0);
  options.tiers.push_back(1);
  return options;
}

LinkRailStats stats_of(LinkWorld& world, int side, size_t rail) {
  return world.link(side).stats()[rail];
}

void expect_soak(LinkWorld& world, uint64_t seed) {
  for (int side = 0; side < 2; ++side) {
    world.side(side).done.clear();
    world.side(side).notified.clear();
    world.side(side).messages.clear();
  }
  LinkSoak soak(world, {.seed = seed});
  EXPECT_TRUE(soak.run(world.now() + 20 * kSecond)) << world.describe();
  world.run_for(50 * kMillisecond);
  soak.check();
}

// Every rail of tier 0, on both sides.
void inject(LinkWorld& world, size_t better, Kind kind) {
  for (int side = 0; side < 2; ++side) {
    for (size_t rail = 0; rail < better; ++rail) {
      world.network().inject(
          {.kind = kind, .at = kFault, .rail = world.sim_rail(side, static_cast<int>(rail))});
    }
  }
}

TEST(LinkTier, AStandbyPairCarriesNothingWhileABetterOneIsUp) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    LinkWorld world(tiered_world(seed, 2));
    world.connect();
    expect_soak(world, seed);
    for (int side = 0; side < 2; ++side) {
      EXPECT_TRUE(stats_of(world, side, 2).standby);
      EXPECT_EQ(stats_of(world, side, 2).state, RailState::kUp);
      EXPECT_EQ(stats_of(world, side, 2).chunks_sent, 0u) << world.describe();
      EXPECT_GT(stats_of(world, side, 0).bytes_sent, 0u);
      EXPECT_GT(stats_of(world, side, 1).bytes_sent, 0u);
      EXPECT_FALSE(stats_of(world, side, 0).standby);
    }
    world.close_both();
  }
}

TEST(LinkTier, OneOfTwoBetterPairsIsEnough) {
  LinkWorld world(tiered_world(3, 2));
  world.connect();
  world.network().inject({.kind = Kind::kCut, .at = kFault, .rail = 0});
  expect_soak(world, 3);
  EXPECT_GT(world.failures(0) + world.failures(1), 0u);
  EXPECT_EQ(stats_of(world, 0, 2).chunks_sent + stats_of(world, 1, 2).chunks_sent, 0u)
      << world.describe();
  world.close_both();
}

TEST(LinkTier, TheLastResortCarriesEverythingUntilABetterPairIsBack) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    const size_t better = 1 + seed % 2;
    LinkWorld world(tiered_world(seed, better));
    world.connect();
    inject(world, better, seed % 3 == 0 ? Kind::kCut : Kind::kMute);
    expect_soak(world, seed);
    EXPECT_GT(stats_of(world, 0, better).bytes_sent, 0u) << world.describe();
    EXPECT_GT(stats_of(world, 1, better).bytes_sent, 0u) << world.describe();
    EXPECT_FALSE(stats_of(world, 0, better).standby);
    EXPECT_GE(stats_of(world, 0, 0).failures + stats_of(world, 1, 0).failures, 1u);

    for (int side = 0; side < 2; ++side) {
      for (size_t rail = 0; rail < better; ++rail) {
        world.network().inject({.kind = Kind::kRestore,
                                .at = world.now(),
                                .rail = world.sim_rail(side, static_cast<int>(rail))});
      }
    }
    ASSERT_TRUE(world.run_until(
        [&] { return stats_of(world, 0, better).standby && stats_of(world, 1, better).standby; },
        world.now() + kSecond))
        << world.describe();
    const uint64_t before = stats_of(world, 0, better).chunks_sent;
    const uint64_t better_before = stats_of(world, 0, 0).bytes_sent;
    expect_soak(world, seed + 100);
    EXPECT_EQ(stats_of(world, 0, better).chunks_sent, before) << world.describe();
    EXPECT_GT(stats_of(world, 0, 0).bytes_sent, better_before);
    EXPECT_GE(stats_of(world, 0, 0).recoveries, 1u);
    EXPECT_EQ(world.side(0).failed + world.side(1).failed, 0);
    world.close_both();
  }
}

// Data all the time, in one direction, for so long.
void keep_busy(LinkWorld& world, TimeNs ns) {
  auto source = world.make_buffer(0, 200'000);
  auto target = world.make_buffer(1, 200'000);
  const TimeNs end = world.now() + ns;
  uint64_t token = 0;
  const auto begin_one = [&] {
    EXPECT_TRUE(world.link(0)
                    .put({.token = token++,
                          .source = &source->registered,
                          .bytes = source->bytes.size(),
                          .target = &target->remote},
                         world.now())
                    .is_ok());
  };
  uint64_t ended = 0;
  world.side(0).on_done = [&](uint64_t) {
    ++ended;
    if (world.now() < end) begin_one();
  };
  begin_one();
  EXPECT_TRUE(
      world.run_until([&] { return world.now() >= end && ended == token; }, end + 10 * kSecond));
  world.side(0).on_done = nullptr;
  world.run_for(10 * kMillisecond);
}

TEST(LinkTier, AStandbyPairThatDiedIsFoundWhileItIsNotNeeded) {
  LinkWorld world(tiered_world(4, 1));
  world.connect();
  for (int side = 0; side < 2; ++side) {
    world.network().inject({.kind = Kind::kMute, .at = kFault, .rail = world.sim_rail(side, 1)});
  }
  keep_busy(world, 1500 * kMillisecond);
  EXPECT_GE(stats_of(world, 0, 1).failures, 1u) << world.describe();
  EXPECT_NE(stats_of(world, 0, 1).state, RailState::kUp);
  EXPECT_EQ(stats_of(world, 0, 0).failures, 0u);
  for (int side = 0; side < 2; ++side) {
    world.network().inject(
        {.kind = Kind::kRestore, .at = world.now(), .rail = world.sim_rail(side, 1)});
  }
  EXPECT_TRUE(world.run_until(
      [&] {
        return stats_of(world, 0, 1).standby && stats_of(world, 0, 1).state == RailState::kUp;
      },
      world.now() + kSecond))
      << world.describe();
  EXPECT_EQ(stats_of(world, 0, 1).chunks_sent, 0u);
  world.close_both();
}

// As an RDMA rail, whose NIC completes puts by itself, or as TCP, where the peer's process has to
// do something for it: `held` says that who has to do it stands still.
class LikeRail final : public ForwardingRail, private EventSink {
 public:
  LikeRail(std::unique_ptr<Rail> inner, bool by_nic, std::function<bool()> held)
      : ForwardingRail(std::move(inner)), info_(ForwardingRail::info()), held_(std::move(held)) {
    info_.transport = by_nic ? TransportKind::kVerbs : TransportKind::kTcp;
  }
  const RailInfo& info() const override { return info_; }
  bool progress(TimeNs now, EventSink& sink) override {
    sink_ = &sink;
    bool did = ForwardingRail::progress(now, *this);
    while (!waiting_.empty() && !held_()) {
      const RailEvent event = waiting_.front();
      waiting_.pop_front();
      sink.on_event(event);
      did = true;
    }
    return did;
  }

 private:
  void on_event(const RailEvent& event) override {
    if (event.kind == RailEvent::Kind::kPutDone && held_()) {
      waiting_.push_back(event);
    } else {
      sink_->on_event(event);
    }
  }

  RailInfo info_;
  std::function<bool()> held_;
  EventSink* sink_ = nullptr;
  std::deque<RailEvent> waiting_;
};

// Found in the lab: a process that computed for two seconds, while its NIC went on completing, was
// taken for a broken TCP rail.
TEST(LinkTier, AStandbyPairIsNotBlamedForAPeerWhoseNicAloneIsAlive) {
  LinkWorldOptions options = tiered_world(8, 1);
  LinkWorld* here = nullptr;
  options.decorate = [&](int rank, int rail, std::unique_ptr<Rail> inner) {
    const bool by_nic = rail == 0;
    return std::make_unique<LikeRail>(std::move(inner), by_nic, [&here, rank, by_nic] {
      return !by_nic && here != nullptr && here->frozen == 1 - rank;
    });
  };
  LinkWorld world(options);
  here = &world;
  world.connect();
  keep_busy(world, 1500 * kMillisecond);
  auto source = world.make_buffer(0, 4'000'000);
  auto target = world.make_buffer(1, 4'000'000);
  // The pair was probed less than a second ago; the probe after the next second meets a peer that
  // stands still, and whose NIC takes what is put.
  world.run_for(kSecond);
  world.frozen = 1;
  for (uint64_t token = 0; token < 20; ++token) {
    ASSERT_TRUE(world.link(0)
                    .put({.token = 1'000'000 + token,
                          .source = &source->registered,
                          .bytes = source->bytes.size(),
                          .target = &target->remote},
                         world.now())
                    .is_ok());
    world.run_for(5 * kMillisecond);
  }
  EXPECT_EQ(stats_of(world, 0, 1).state, RailState::kSuspect) << world.describe();
  world.frozen = -1;
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done.contains(1'000'019); },
                              world.now() + kSecond));
  EXPECT_EQ(stats_of(world, 0, 1).failures, 0u) << world.describe();
  EXPECT_EQ(stats_of(world, 0, 1).state, RailState::kUp);
  world.close_both();
}

// A whole machine that stands still for longer than the patience with a rail. Its NICs do not come
// back in the same moment: the one that is a little later is not to be taken for broken.
TEST(LinkTier, ARailIsNotBlamedForAMachineThatStoodStillWhenItsSiblingIsBackFirst) {
  LinkWorldOptions options = tiered_world(8, 2);
  std::array<bool, 3> still{};
  options.decorate = [&](int rank, int rail, std::unique_ptr<Rail> inner) {
    const bool by_nic = rail < 2;
    return std::make_unique<LikeRail>(std::move(inner), by_nic, [&still, rank, rail] {
      return rank == 0 && still[static_cast<size_t>(rail)];
    });
  };
  LinkWorld world(options);
  world.connect();
  keep_busy(world, 100 * kMillisecond);
  auto source = world.make_buffer(0, 4'000'000);
  auto target = world.make_buffer(1, 4'000'000);
  still = {true, true, true};
  world.frozen = 1;
  ASSERT_TRUE(world.link(0)
                  .put({.token = 1'000'000,
                        .source = &source->registered,
                        .bytes = source->bytes.size(),
                        .target = &target->remote},
                       world.now())
                  .is_ok());
  world.run_for(3 * options.link.rail_timeout_ns);
  for (const size_t rail : {0, 1}) {
    EXPECT_EQ(stats_of(world, 0, rail).state, RailState::kSuspect) << world.describe();
  }
  still[0] = false;
  world.run_for(options.link.rail_timeout_ns / 4);
  still[1] = still[2] = false;
  world.frozen = -1;
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done.contains(1'000'000); },
                              world.now() + kSecond));
  for (const size_t rail : {0, 1, 2}) {
    EXPECT_EQ(stats_of(world, 0, rail).failures, 0u) << rail << world.describe();
  }
  world.close_both();
}

TEST(LinkTier, ALinkAtRestIsNotProbed) {
  LinkWorld world(tiered_world(5, 1));
  world.connect();
  world.run_for(10 * kMillisecond);
  EXPECT_EQ(world.link(0).next_deadline(), kNever);
  EXPECT_EQ(world.link(1).next_deadline(), kNever);
}

TEST(LinkTier, TheFirstConnectionWaitsForTheBetterTierButNotForEver) {
  LinkWorldOptions options = tiered_world(6, 1);
  LinkWorld world(options);
  world.network().inject({.kind = Kind::kMute, .at = 0, .rail = world.sim_rail(1, 0)});
  world.run_for(kMicrosecond);
  const TimeNs start = world.now();
  world.connect();
  EXPECT_GE(world.now() - start, options.link.rail_timeout_ns);
  EXPECT_LT(world.now() - start, 2 * options.link.rail_timeout_ns);
  expect_soak(world, 6);
  EXPECT_GT(stats_of(world, 0, 1).bytes_sent, 0u);
  world.close_both();
}

TEST(LinkTier, WhatTheBetterRailCouldNotRegisterGoesOverTheOther) {
  LinkWorld world(tiered_world(7, 1));
  world.connect();
  auto source = world.make_buffer(0, 100'000);
  auto target = world.make_buffer(1, 100'000);
  fill(*source, 7);
  source->registered.on_rail[0].reset();
  ASSERT_TRUE(world.link(0)
                  .put({.token = 1,
                        .source = &source->registered,
                        .bytes = source->bytes.size(),
                        .target = &target->remote,
                        .tag = 9},
                       world.now())
                  .is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.side(1).notified.contains(9); }));
  EXPECT_EQ(target->bytes, source->bytes);
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done.contains(1); }));
  EXPECT_EQ(stats_of(world, 0, 1).bytes_sent, source->bytes.size());
  world.close_both();
}

}  // namespace
}  // namespace railccl::testing_support
