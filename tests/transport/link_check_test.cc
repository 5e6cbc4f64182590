// Checksums of chunks and messages (LinkOptions::check): what comes damaged is sent again, and its
// rail is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/transport/link_soak.h"
#include "tests/transport/link_world.h"
#include "transport/checksum.h"
#include "transport/faults/fault_rail.h"

namespace railccl::testing_support {
namespace {

using testing::HasSubstr;

// Rail 0 of rank 1 damages what arrives there.
LinkWorldOptions damaging_world(uint64_t seed, size_t rails, std::string_view plans, bool check) {
  LinkWorldOptions options = quick_world(seed, rails);
  options.link.check = check;
  options.decorate = [plans](int rank, int rail, std::unique_ptr<Rail> inner) {
    if (rank != 1 || rail != 0) return inner;
    return std::move(*make_fault_rail(std::move(inner), *parse_fault_plans(plans)));
  };
  return options;
}

uint32_t damaged(LinkWorld& world, int side) {
  uint32_t sum = 0;
  for (const LinkRailStats& stats : world.link(side).stats()) sum += stats.damaged;
  return sum;
}

TEST(Checksum, IsCrc32c) {
  const auto of = [](std::string_view text) {
    return crc32c(std::as_bytes(std::span(text.data(), text.size())));
  };
  EXPECT_EQ(of("123456789"), 0xe3069283u);  // the check value of every catalogue of CRCs
  EXPECT_EQ(of(""), 0u);
  EXPECT_EQ(of(std::string_view("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                                32)),
            0x8a9136aau);  // RFC 3720, B.4
}

TEST(LinkCheck, DamagedDataIsSentAgainAndTheRailNamed) {
  uint32_t found = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    LinkWorld world(damaging_world(seed, 2, "corrupt@5x2,corrupt@20,corrupt@40x3", true));
    world.connect();
    LinkSoak soak(world, {.seed = seed});
    EXPECT_TRUE(soak.run(10 * kSecond)) << world.describe();
    world.run_for(20 * kMillisecond);
    soak.check();
    const uint32_t here = damaged(world, 1);
    found += here;
    EXPECT_EQ(damaged(world, 0), 0u);
    if (here > 0) {
      EXPECT_THAT(world.link(1).stats()[0].last_error, HasSubstr("CRC32C"));
      EXPECT_THAT(world.link(0).stats()[0].last_error, HasSubstr("rank 1 says: "));
      EXPECT_THAT(world.link(0).stats()[0].last_error, HasSubstr("CRC32C"));
      EXPECT_GT(world.failures(1), 0u);
    }
    world.close_both();
  }
  EXPECT_GT(found, 10u);
}

TEST(LinkCheck, OverTheOnlyRailToo) {
  LinkWorld world(damaging_world(3, 1, "corrupt@5,corrupt@12", true));
  world.connect();
  LinkSoak soak(world, {.seed = 3});
  EXPECT_TRUE(soak.run(10 * kSecond)) << world.describe();
  soak.check();
  EXPECT_EQ(damaged(world, 1), 2u);
  world.close_both();
}

// Found by tests/simulate (seed 51319): verdicts and offers of the rail's earlier failures, sent
// again in the stream of messages, kept what the user sent from ever getting through.
TEST(LinkCheck, AnOnlyRailThatDamagesHalfOfItsDataGetsThrough) {
  LinkWorldOptions options = quick_world(7, 1);
  options.link.check = true;
  LinkWorld world(options);
  world.connect();
  world.network().inject(
      {.kind = SimFault::Kind::kCorrupt, .at = world.now(), .rail = 0, .value = 0.46});
  LinkSoak soak(world, {.seed = 7, .puts = 10, .messages = 20, .largest_put = 30'000});
  EXPECT_TRUE(soak.run(20 * kSecond)) << world.describe();
  soak.check();
  EXPECT_GT(damaged(world, 1), 10u);
  world.close_both();
}

TEST(LinkCheck, ARailThatDamagesEverythingEndsTheLinkInTime) {
  LinkWorldOptions options = quick_world(8, 1);
  options.link.check = true;
  LinkWorld world(options);
  world.connect();
  world.network().inject(
      {.kind = SimFault::Kind::kCorrupt, .at = world.now(), .rail = 0, .value = 1});
  world.run_for(kMicrosecond);
  ASSERT_TRUE(world.link(0).send({}, pattern(100, 1), world.now()).is_ok());
  EXPECT_TRUE(world.run_until([&] { return world.side(0).failed == 1; },
                              world.now() + 3 * options.link.link_timeout_ns))
      << world.describe();
  EXPECT_THAT(std::string(world.side(0).failure.message()),
              testing::AllOf(HasSubstr("again and again"), HasSubstr("rank0rail0")));
}

// So that the tests above say something: nobody else notices.
TEST(LinkCheck, WithoutItDamageIsNotSeen) {
  LinkWorld world(damaging_world(4, 2, "corrupt@0x1000", false));
  world.connect();
  auto source = world.make_buffer(0, 1 << 20);
  auto target = world.make_buffer(1, 1 << 20);
  fill(*source, 4);
  const LinkPut put{
      .token = 1, .source = &source->registered, .bytes = 1 << 20, .target = &target->remote};
  ASSERT_TRUE(world.link(1).send({}, pattern(10, 1), world.now()).is_ok());  // starts the plan
  world.run_for(kMillisecond);
  ASSERT_TRUE(world.link(0).put(put, world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done[1] == 1; }));
  EXPECT_NE(source->bytes, target->bytes);
  EXPECT_EQ(world.failures(0) + world.failures(1), 0u);
}

// A notification that comes twice finds the memory in use for something else: no damage.
TEST(LinkCheck, DuplicatesOfWhatIsInUseAgainAreNoDamage) {
  LinkWorldOptions options = quick_world(5, 2);
  options.link.check = true;
  LinkWorld world(options);
  world.connect();
  for (int rail = 0; rail < 4; ++rail) {
    world.network().inject({.kind = SimFault::Kind::kDuplicate, .at = world.now(), .rail = rail});
  }
  LinkSoak soak(world, {.seed = 5, .puts = 200});
  EXPECT_TRUE(soak.run(10 * kSecond)) << world.describe();
  soak.check();
  EXPECT_EQ(world.failures(0) + world.failures(1), 0u);
  world.close_both();
}

}  // namespace
}  // namespace railccl::testing_support
