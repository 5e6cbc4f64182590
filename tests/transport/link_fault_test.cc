// The link under faults: many seeds of random ones, and each case that design.md names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/transport/link_soak.h"
#include "tests/transport/link_world.h"

namespace railccl::testing_support {
namespace {

LinkOptions quick_options() {
  LinkOptions options;
  options.chunk_bytes = 16384;
  options.small_put_bytes = 8192;
  options.message_ring_bytes = 65536;
  options.rail_timeout_ns = 4 * kMillisecond;
  options.link_timeout_ns = 5 * kSecond;
  options.probe_pause_ns = 500 * kMicrosecond;
  options.probe_pause_max_ns = 20 * kMillisecond;
  return options;
}

struct SeedCounts {
  uint64_t failures = 0;
  uint64_t recoveries = 0;
  uint64_t replayed = 0;
  uint64_t both_failed_twice = 0;
};

void count(const LinkWorld& world, Link& link, SeedCounts& counts) {
  (void)world;
  uint64_t failures = 0;
  for (const LinkRailStats& stats : link.stats()) {
    failures += stats.failures;
    counts.recoveries += stats.recoveries;
    counts.replayed += stats.replayed_bytes;
  }
  counts.failures += failures;
  if (failures >= 2) ++counts.both_failed_twice;
}

LinkWorldOptions world_of(uint64_t seed, size_t rails) {
  LinkWorldOptions options{.seed = seed, .link = quick_options()};
  options.rail_bytes_per_second.assign(rails, 1'000'000'000);
  if (rails > 1) options.rail_bytes_per_second[1] = 400'000'000;
  return options;
}

void run_seed(uint64_t seed, SeedCounts& counts) {
  const size_t rails = 1 + seed % 4;
  LinkWorld world(world_of(seed, rails));
  const auto faults = random_faults({.seed = seed,
                                     .rails = static_cast<int>(2 * rails),
                                     .faults = static_cast<int>(1 + seed % 5),
                                     .begin = 50 * kMicrosecond,
                                     .end = 8 * kMillisecond});
  std::string story = fmt::format("seed {}, {} rails per rank", seed, rails);
  for (const SimFault& fault : faults) story += "\n  " + to_string(fault);
  SCOPED_TRACE(story);
  world.connect();
  for (const SimFault& fault : faults) world.network().inject(fault);
  LinkSoak soak(world, {.seed = seed});
  const bool ended = soak.run(20 * kSecond);
  world.run_for(20 * kMillisecond);
  soak.check();
  if (!ended || testing::Test::HasFailure()) ADD_FAILURE() << world.describe();
  count(world, world.link(0), counts);
  count(world, world.link(1), counts);
  world.close_both();
}

// RAILCCL_TEST_SEED=n runs that seed alone; RAILCCL_TEST_SEEDS=n runs so many.
TEST(LinkFault, RandomFaultsOverManySeeds) {
  SeedCounts counts;
  const char* one = std::getenv("RAILCCL_TEST_SEED");
  if (one != nullptr) {
    run_seed(std::strtoull(one, nullptr, 10), counts);
    return;
  }
  const char* many = std::getenv("RAILCCL_TEST_SEEDS");
  const uint64_t seeds = many != nullptr ? std::strtoull(many, nullptr, 10) : 200;
  for (uint64_t seed = 1; seed <= seeds && !HasFailure(); ++seed) run_seed(seed, counts);
  // Something must have happened, or the test says nothing.
  EXPECT_GT(counts.failures, seeds);
  EXPECT_GT(counts.recoveries, seeds / 2);
  EXPECT_GT(counts.replayed, 0u);
  EXPECT_GT(counts.both_failed_twice, seeds / 10);
  RecordProperty("failures", static_cast<int>(counts.failures));
  RecordProperty("recoveries", static_cast<int>(counts.recoveries));
  RecordProperty("replayed_bytes", static_cast<int>(counts.replayed));
}

}  // namespace
}  // namespace railccl::testing_support
