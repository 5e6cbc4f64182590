// What striping makes of rails of different speed, in simulated time: shares, idle slow rails,
// demotion, promotion. No data is copied.
#include <gtest/gtest.h>

#include "tests/transport/link_world.h"

namespace railccl::testing_support {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGigabit = 125'000'000;  // bytes per second

struct Stream {
  uint64_t put_bytes = 4 * kMiB;
  int puts = 40;
  int at_once = 3;
};

// Puts one after another, so many at a time; the achieved bytes per second.
double run_stream(LinkWorld& world, const Stream& stream) {
  auto source = world.make_buffer(0, 64);
  auto target = world.make_buffer(1, 64);
  // Nothing is copied, so that the buffers may be larger than their memory.
  source->registered.region.bytes = target->remote.bytes = stream.put_bytes;
  std::vector<std::unique_ptr<Registration>> large;
  for (size_t i = 0; i < world.side(0).rails.size(); ++i) {
    const MemoryRegion from{.address = source->bytes.data(), .bytes = stream.put_bytes};
    const MemoryRegion to{.address = target->bytes.data(), .bytes = stream.put_bytes};
    source->registered.on_rail[i] = *world.side(0).rails[i]->register_memory(from);
    large.push_back(*world.side(1).rails[i]->register_memory(to));
    target->remote.rail_keys[i] = large.back()->key();
  }
  int begun = 0;
  int ended = 0;
  const auto begin_one = [&] {
    const LinkPut put{.token = static_cast<uint64_t>(begun++),
                      .source = &source->registered,
                      .bytes = stream.put_bytes,
                      .target = &target->remote};
    EXPECT_TRUE(world.link(0).put(put, world.now()).is_ok());
  };
  world.side(0).on_done = [&](uint64_t) {
    ++ended;
    if (begun < stream.puts) begin_one();
  };
  const TimeNs start = world.now();
  for (int i = 0; i < stream.at_once && begun < stream.puts; ++i) begin_one();
  EXPECT_TRUE(world.run_until([&] { return ended == stream.puts; }, start + 600 * kSecond));
  world.side(0).on_done = nullptr;
  return static_cast<double>(stream.put_bytes) * stream.puts * 1e9 /
         static_cast<double>(world.now() - start);
}

LinkWorldOptions rails(std::vector<uint64_t> bytes_per_second) {
  return {.rail_bytes_per_second = std::move(bytes_per_second),
          .latency_ns = 50 * kMicrosecond,
          .copy_data = false};
}

TEST(LinkRate, TwoUnequalRailsCarryNearlyTheirSum) {
  LinkWorld world(rails({kGigabit, kGigabit / 2}));
  world.connect();
  const double rate = run_stream(world, {});
  EXPECT_GT(rate, 0.95 * 1.5 * kGigabit) << rate / kGigabit;
  const auto stats = world.link(0).stats();
  const double share = static_cast<double>(stats[0].bytes_sent) /
                       static_cast<double>(stats[0].bytes_sent + stats[1].bytes_sent);
  EXPECT_NEAR(share, 2.0 / 3, 0.03);
  world.close_both();
}

TEST(LinkRate, OnePutAtATimeLosesLittle) {
  LinkWorld world(rails({kGigabit, kGigabit / 2}));
  world.connect();
  const double rate = run_stream(world, {.at_once = 1});
  EXPECT_GT(rate, 0.90 * 1.5 * kGigabit) << rate / kGigabit;
}

TEST(LinkRate, TheRateIsLearntWhenThePortsLie) {
  LinkWorld world(rails({kGigabit, kGigabit}));
  world.network().inject({.kind = SimFault::Kind::kRate, .at = 0, .rail = 1, .value = 0.5});
  world.connect();
  const double rate = run_stream(world, {.puts = 80});
  EXPECT_GT(rate, 0.93 * 1.5 * kGigabit) << rate / kGigabit;
}

TEST(LinkRate, OneRailAloneCostsNothing) {
  LinkWorld world(rails({kGigabit}));
  world.connect();
  EXPECT_GT(run_stream(world, {}), 0.98 * kGigabit);
}

TEST(LinkRate, FastRailsAreFilledToo) {
  LinkWorldOptions options = rails({50'000'000'000, 25'000'000'000});
  options.latency_ns = 3 * kMicrosecond;
  LinkWorld world(options);
  world.connect();
  const double rate = run_stream(world, {.put_bytes = 64 * kMiB, .puts = 40});
  EXPECT_GT(rate, 0.95 * 75e9) << rate / 75e9;
}

TEST(LinkRate, EqualSplittingIsAsSlowAsItsSlowestRail) {
  LinkWorldOptions options = rails({kGigabit, kGigabit / 2});
  options.link.striping = Striping::kEqual;
  LinkWorld world(options);
  world.connect();
  const double rate = run_stream(world, {});
  EXPECT_LT(rate, 1.05 * kGigabit) << rate / kGigabit;
  const auto stats = world.link(0).stats();
  EXPECT_NEAR(static_cast<double>(stats[0].bytes_sent) / static_cast<double>(stats[1].bytes_sent),
              1.0, 0.02);
}

TEST(LinkRate, FarSlowerRailIsDemotedAndPromotedAgain) {
  LinkWorld world(rails({kGigabit, kGigabit}));
  world.connect();
  world.network().inject({.kind = SimFault::Kind::kRate, .at = 0, .rail = 1, .value = 0.05});
  run_stream(world, {.puts = 100});
  EXPECT_TRUE(world.link(0).stats()[1].slow);
  EXPECT_FALSE(world.link(0).stats()[0].slow);
  // Demoted, it no longer slows the other one down; but it is still sampled.
  const uint64_t before = world.link(0).stats()[1].bytes_sent;
  EXPECT_GT(run_stream(world, {.puts = 40}), 0.95 * kGigabit);
  const uint64_t sampled = world.link(0).stats()[1].bytes_sent - before;
  EXPECT_GT(sampled, 0u);
  EXPECT_LT(sampled, 4 * kMiB);
  world.network().inject({.kind = SimFault::Kind::kRestore, .at = world.now(), .rail = 1});
  run_stream(world, {.puts = 40});
  EXPECT_FALSE(world.link(0).stats()[1].slow);
  EXPECT_GT(run_stream(world, {.puts = 20}), 1.8 * kGigabit);
}

TEST(LinkRate, SmallPutsTakeOneRail) {
  LinkWorld world(rails({kGigabit, kGigabit}));
  world.connect();
  run_stream(world, {.put_bytes = 60'000, .puts = 10, .at_once = 1});
  const auto stats = world.link(0).stats();
  EXPECT_EQ(stats[0].chunks_sent + stats[1].chunks_sent, 10u);
}

}  // namespace
}  // namespace railccl::testing_support
