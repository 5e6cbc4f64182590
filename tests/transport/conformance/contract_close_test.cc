// Line 8 of the contract in transport/rail.h, close() as the fence, and what surrounds an
// endpoint's end.
#include <algorithm>

#include "tests/transport/conformance/rail_conformance.h"

namespace railccl::testing_support {
namespace {

using Kind = RailEvent::Kind;

constexpr size_t kSmall = 1000;
constexpr size_t kLarge = 300'000;

TEST_P(RailConformance, Line08NothingLandsAfterClosed) {
  connect();
  constexpr size_t kPuts = 12;
  TestBuffer source = make_buffer(rail(0), kLarge, 0xaa);
  TestBuffer target = make_buffer(rail(1), kLarge * kPuts, 0);
  for (uint64_t i = 0; i < kPuts; ++i) {
    Put one = make_put(source, target, kLarge, i);
    one.remote_offset = i * kLarge;
    if (!endpoint(0).put(one)) break;
  }
  // The receiver fences in the middle of the stream, while the sender's data is under way.
  sink(0).progress(rail(0), pair_->now());
  sink(1).progress(rail(1), pair_->now());
  endpoint(1).close();
  ASSERT_TRUE(progress_until([&] { return count(1, Kind::kClosed) == 1; }));
  const std::vector<std::byte> at_fence = target.bytes;
  const size_t notified = count(1, Kind::kNotification);
  settle();
  EXPECT_EQ(target.bytes, at_fence);
  EXPECT_EQ(count(1, Kind::kNotification), notified);
  endpoint(0).close();
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kClosed) == 1; }));
}

TEST_P(RailConformance, Line08NothingIsSentAfterClosed) {
  connect();
  TestBuffer source = make_buffer(rail(0), kLarge, 0xaa);
  TestBuffer target = make_buffer(rail(1), kLarge, 0);
  uint64_t accepted = 0;
  while (accepted < 8 && endpoint(0).put(make_put(source, target, kLarge, accepted))) ++accepted;
  endpoint(0).close();
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kClosed) == 1; }));
  EXPECT_EQ(count(0, Kind::kPutDone), accepted) << "kClosed came before the puts had completed";
  // The source may change from here on; what the peer has got must be from before.
  std::ranges::fill(source.bytes, std::byte{0xbb});
  settle();
  EXPECT_EQ(std::ranges::count(target.bytes, std::byte{0xbb}), 0);
}

TEST_P(RailConformance, Line08ClosedComesOnceInEveryState) {
  start();
  auto fresh = rail(0).open_endpoint(500);
  auto lonely = rail(0).open_endpoint(501);
  auto never = rail(1).open_endpoint(502);
  ASSERT_TRUE(fresh && lonely && never);
  ASSERT_TRUE((*lonely)->connect((*never)->address()));
  settle(3);
  (*fresh)->close();
  (*fresh)->close();
  (*lonely)->close();
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kClosed) == 2; }));
  settle();
  EXPECT_EQ(sink(0).count(Kind::kClosed, 500), 1U);
  EXPECT_EQ(sink(0).count(Kind::kClosed, 501), 1U);
}

TEST_P(RailConformance, Line08PeerLearnsOfTheClose) {
  connect();
  endpoint(0).close();
  ASSERT_TRUE(
      progress_until([&] { return count(0, Kind::kClosed) == 1 && count(1, Kind::kFailed) == 1; }));
  endpoint(1).close();
  ASSERT_TRUE(progress_until([&] { return count(1, Kind::kClosed) == 1; }));
}

TEST_P(RailConformance, ConnectToNobodyFailsInTime) {
  start({.connect_timeout_ns = 200 * kMillisecond});
  auto lonely = rail(0).open_endpoint(kTag);
  auto silent = rail(1).open_endpoint(kTag + 1);
  ASSERT_TRUE(lonely && silent);
  ASSERT_TRUE((*lonely)->connect((*silent)->address()));
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kFailed) == 1; }));
  EXPECT_EQ(sink(0).find(Kind::kFailed, kTag)->status.code(), Code::kTimeout);
  EXPECT_EQ(count(0, Kind::kConnected), 0U);
}

TEST_P(RailConformance, EndpointsCanBeReplacedAfterAFailure) {
  connect();
  endpoint(0).close();
  endpoint(1).close();
  ASSERT_TRUE(
      progress_until([&] { return count(0, Kind::kClosed) == 1 && count(1, Kind::kClosed) == 1; }));
  endpoints_ = {};
  sinks_ = {};
  connect();
  TestBuffer source = make_buffer(rail(0), kSmall, 8);
  TestBuffer target = make_buffer(rail(1), kSmall, 0);
  ASSERT_TRUE(put(0, make_put(source, target, kSmall, 1)));
  ASSERT_TRUE(progress_until([&] { return count(1, Kind::kNotification) == 1; }));
  EXPECT_TRUE(all_equal(target.bytes, 8));
}

}  // namespace
}  // namespace railccl::testing_support
