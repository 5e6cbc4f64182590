// The link over simulated rails without faults: what its header promises.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/transport/link_world.h"

namespace railccl::testing_support {
namespace {

using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

LinkPut make_put(uint64_t token, const LinkBuffer& source, const LinkBuffer& target,
                 uint64_t bytes) {
  return {.token = token,
          .source = &source.registered,
          .bytes = bytes,
          .target = &target.remote,
          .tag = 1000 + token};
}

TEST(Link, OnePutArrivesWholeAndIsAcknowledged) {
  LinkWorld world({.rail_bytes_per_second = {1'000'000'000, 1'000'000'000}});
  world.connect();
  EXPECT_EQ(world.side(0).connected, 1);
  auto source = world.make_buffer(0, 3 * kMiB);
  auto target = world.make_buffer(1, 3 * kMiB);
  fill(*source, 5);
  bool whole_at_notification = false;
  world.side(1).on_tag = [&](uint64_t) { whole_at_notification = target->bytes == source->bytes; };
  auto put = make_put(1, *source, *target, 3 * kMiB);
  ASSERT_TRUE(world.link(0).put(put, world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done[1] == 1; })) << world.describe();
  EXPECT_TRUE(whole_at_notification);
  EXPECT_EQ(world.side(1).notified[1001], 1);
  const auto stats = world.link(0).stats();
  EXPECT_GT(stats[0].bytes_sent, 0u);
  EXPECT_GT(stats[1].bytes_sent, 0u);
  EXPECT_EQ(stats[0].bytes_sent + stats[1].bytes_sent, 3 * kMiB);
  world.close_both();
}

}  // namespace
}  // namespace railccl::testing_support
