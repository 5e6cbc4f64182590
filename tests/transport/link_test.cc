// The link over simulated rails without faults: what its header promises.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/transport/forwarding_rail.h"
#include "tests/transport/link_soak.h"
#include "tests/transport/link_world.h"
#include "transport/wire.h"

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

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
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
  ASSERT_TRUE(world.link(0).put(make_put(1, *source, *target, 3 * kMiB), world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done[1] == 1; })) << world.describe();
  EXPECT_TRUE(whole_at_notification);
  EXPECT_EQ(world.side(1).notified[1001], 1);
  const auto stats = world.link(0).stats();
  EXPECT_GT(stats[0].bytes_sent, 0u);
  EXPECT_GT(stats[1].bytes_sent, 0u);
  EXPECT_EQ(stats[0].bytes_sent + stats[1].bytes_sent, 3 * kMiB);
  const auto received = world.link(1).stats();
  EXPECT_EQ(received[0].bytes_received, stats[0].bytes_sent);
  EXPECT_EQ(received[1].bytes_received, stats[1].bytes_sent);
  world.close_both();
}

// Counts the notes that do nothing but acknowledge.
class CountsAcks final : public ForwardingEndpoint {
 public:
  CountsAcks(std::unique_ptr<Endpoint> inner, int& acks)
      : ForwardingEndpoint(std::move(inner)), acks_(acks) {}
  Status put(const Put& put) override {
    const auto header = wire::decode_header(put.notification);
    if (header && header->kind == wire::NoteKind::kAck) ++acks_;
    return ForwardingEndpoint::put(put);
  }

 private:
  int& acks_;
};
using RailThatCountsAcks = RailOfEndpoints<CountsAcks, int>;

TEST(Link, AnAnswerCarriesTheAcknowledgement) {
  constexpr uint64_t kPuts = 100;
  for (const bool check : {false, true}) {
    for (const bool answer : {false, true}) {
      std::array<int, 2> acks{};
      LinkWorldOptions options;
      options.link.check = check;
      options.decorate = [&](int rank, int, std::unique_ptr<Rail> inner) {
        return std::make_unique<RailThatCountsAcks>(std::move(inner),
                                                    acks[static_cast<size_t>(rank)]);
      };
      LinkWorld world(options);
      world.connect();
      acks = {};
      auto here = world.make_buffer(0, 8);
      auto there = world.make_buffer(1, 8);
      world.side(1).on_tag = [&](uint64_t tag) {
        if (!answer) return;
        const LinkPut back = make_put(tag - 1000, *there, *here, 8);
        EXPECT_TRUE(world.link(1).put(back, world.now()).is_ok());
      };
      for (uint64_t put = 0; put < kPuts; ++put) {
        ASSERT_TRUE(world.link(0).put(make_put(put, *here, *there, 8), world.now()).is_ok());
        ASSERT_TRUE(world.run_until([&] {
          return world.side(0).done[put] == 1 && world.side(1).done[put] == (answer ? 1 : 0);
        })) << world.describe();
      }
      EXPECT_EQ(acks[1], answer ? 0 : static_cast<int>(kPuts));
      EXPECT_EQ(acks[0], answer ? static_cast<int>(kPuts) : 0);
      world.close_both();
    }
  }
}

class RailThatSeemsSlow final : public ForwardingRail {
 public:
  explicit RailThatSeemsSlow(std::unique_ptr<Rail> inner)
      : ForwardingRail(std::move(inner)), info_(ForwardingRail::info()) {
    info_.latency_ns *= 20;
  }
  const RailInfo& info() const override { return info_; }

 private:
  RailInfo info_;
};

// Rank 0 takes its rail 0 for slow, rank 1 does not: alone it would take that one.
TEST(Link, SmallPutsOfTheHigherRankTakeTheRailThatThoseOfTheLowerTake) {
  constexpr uint64_t kPuts = 100;
  LinkWorldOptions options{.rail_bytes_per_second = {1'250'000'000, 1'250'000'000}};
  options.decorate = [](int rank, int rail, std::unique_ptr<Rail> inner) -> std::unique_ptr<Rail> {
    if (rank != 0 || rail != 0) return inner;
    return std::make_unique<RailThatSeemsSlow>(std::move(inner));
  };
  LinkWorld world(options);
  world.connect();
  auto here = world.make_buffer(0, 8);
  auto there = world.make_buffer(1, 8);
  world.side(1).on_tag = [&](uint64_t tag) {
    const LinkPut back = make_put(tag - 1000, *there, *here, 8);
    EXPECT_TRUE(world.link(1).put(back, world.now()).is_ok());
  };
  for (uint64_t put = 0; put < kPuts; ++put) {
    ASSERT_TRUE(world.link(0).put(make_put(put, *here, *there, 8), world.now()).is_ok());
    ASSERT_TRUE(world.run_until(
        [&] { return world.side(0).done[put] == 1 && world.side(1).done[put] == 1; }));
  }
  EXPECT_EQ(world.link(0).stats()[1].chunks_sent, kPuts);
  EXPECT_EQ(world.link(1).stats()[1].chunks_sent, kPuts);
}

// While nothing else is under way the shortest way is taken, and the other one by what it has no
// room for.
TEST(Link, SmallPutsThatTheQuickestRailDoesNotTakeGoOverTheOther) {
  constexpr uint64_t kRoom = SimRailConfig{}.max_outstanding_puts;
  LinkWorld world({.rail_bytes_per_second = {1'250'000'000, 1'250'000'000}});
  world.connect();
  auto here = world.make_buffer(0, 8);
  auto there = world.make_buffer(1, 8);
  for (uint64_t put = 0; put < kRoom + 10; ++put) {
    ASSERT_TRUE(world.link(0).put(make_put(put, *here, *there, 8), world.now()).is_ok());
  }
  constexpr uint64_t kNotes = 4;  // the link's own take room, too
  EXPECT_GE(world.link(0).stats()[0].chunks_sent, kRoom - kNotes);
  EXPECT_GE(world.link(0).stats()[1].chunks_sent, 10u);
  EXPECT_EQ(world.link(0).stats()[0].chunks_sent + world.link(0).stats()[1].chunks_sent,
            kRoom + 10);
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done.size() == kRoom + 10; }));
}

TEST(Link, SmallPutsTakeARailOnWhichTheirMemoryIsRegistered) {
  LinkWorld world({.rail_bytes_per_second = {1'250'000'000, 1'250'000'000}});
  world.connect();
  auto here = world.make_buffer(0, 8);
  auto there = world.make_buffer(1, 8);
  here->registered.on_rail[0].reset();
  for (uint64_t put = 0; put < 10; ++put) {
    ASSERT_TRUE(world.link(0).put(make_put(put, *here, *there, 8), world.now()).is_ok());
  }
  EXPECT_EQ(world.link(0).stats()[0].chunks_sent, 0u);
  EXPECT_EQ(world.link(0).stats()[1].chunks_sent, 10u);
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done.size() == 10; }));
}

TEST(Link, RandomTrafficBothWaysOverOneToFourRails) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    LinkWorldOptions options{.seed = seed};
    options.rail_bytes_per_second.clear();
    for (uint64_t i = 0; i <= seed % 4; ++i) {
      options.rail_bytes_per_second.push_back(1'000'000'000 / (i + 1));
    }
    options.link.striping = seed % 3 == 0 ? Striping::kEqual : Striping::kMeasured;
    LinkWorld world(options);
    world.connect();
    LinkSoak soak(world, {.seed = seed, .puts = 80, .messages = 120});
    EXPECT_TRUE(soak.run(10 * kSecond)) << world.describe();
    soak.check();
    EXPECT_EQ(world.failures(0) + world.failures(1), 0u);
    world.close_both();
  }
}

TEST(Link, EmptyPutIsANotification) {
  LinkWorld world({});
  world.connect();
  ASSERT_TRUE(world.link(0).put({.token = 4, .tag = 9}, world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done[4] == 1; }));
  EXPECT_EQ(world.side(1).notified[9], 1);
}

TEST(Link, MessagesOvertakeData) {
  LinkWorld world({.rail_bytes_per_second = {100'000'000}});
  world.connect();
  auto source = world.make_buffer(0, 8 * kMiB);
  auto target = world.make_buffer(1, 8 * kMiB);
  ASSERT_TRUE(world.link(0).put(make_put(1, *source, *target, 8 * kMiB), world.now()).is_ok());
  const TimeNs sent_at = world.now();
  ASSERT_TRUE(world.link(0).send(as_bytes("ur"), as_bytes("gent"), world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.side(1).messages.size() == 1; }));
  EXPECT_LT(world.now() - sent_at, kMillisecond);  // the data takes 80 ms
  EXPECT_EQ(world.side(0).done.count(1), 0u);
  EXPECT_TRUE(std::ranges::equal(world.side(1).messages[0], as_bytes("urgent")));
}

TEST(Link, MessagesMeetBackPressureAndGoOn) {
  LinkWorld world({});
  world.connect();
  const std::vector<std::byte> large = pattern(kMaxMessageBytes, 1);
  Status status;
  int accepted = 0;
  while ((status = world.link(0).send(large, {}, world.now())).is_ok()) ++accepted;
  EXPECT_EQ(status.code(), Code::kBackPressure);
  EXPECT_GE(accepted, 2);
  ASSERT_TRUE(world.run_until([&] { return world.link(0).send(large, {}, world.now()).is_ok(); }));
  ASSERT_TRUE(world.run_until(
      [&] { return static_cast<int>(world.side(1).messages.size()) == accepted + 1; }));
}

// One way only, so no credit has a message to travel with; one at a time, so whoever waits for room
// waits for credit. The smallest ring has room for two of the largest messages.
TEST(Link, MessagesOneWayAlwaysFindRoomAgain) {
  LinkWorldOptions options;
  options.link.message_ring_bytes = 3 * kMaxMessageBytes;
  LinkWorld world(options);
  world.connect();
  const std::vector<std::byte> largest = pattern(kMaxMessageBytes, 3);
  std::mt19937_64 random(1);
  for (size_t count = 1; count <= 500; ++count) {
    const size_t bytes = random() % 2 == 0 ? largest.size() : random() % largest.size();
    const auto message = std::span(largest).first(bytes);
    ASSERT_TRUE(
        world.run_until([&] { return world.link(0).send(message, {}, world.now()).is_ok(); },
                        world.now() + kSecond))
        << "message " << count << " of " << bytes << " bytes";
    ASSERT_TRUE(world.run_until([&] { return world.side(1).messages.size() == count; }));
  }
}

TEST(Link, EmptyAndLargestMessagesArrive) {
  LinkWorld world({});
  world.connect();
  const std::vector<std::byte> large = pattern(kMaxMessageBytes, 2);
  ASSERT_TRUE(world.link(1).send({}, {}, world.now()).is_ok());
  ASSERT_TRUE(world.link(1).send({}, large, world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.side(0).messages.size() == 2; }));
  EXPECT_TRUE(world.side(0).messages[0].empty());
  EXPECT_EQ(world.side(0).messages[1], large);
  EXPECT_EQ(world.link(1).send(large, as_bytes("x"), world.now()).code(), Code::kInvalidArgument);
}

TEST(Link, WrongPutsAreRefusedWithTheirNumbers) {
  LinkWorld world({});
  auto source = world.make_buffer(0, 1000);
  auto target = world.make_buffer(1, 500);
  EXPECT_EQ(world.link(0).put(make_put(1, *source, *target, 10), 0).code(), Code::kInvalidUsage);
  world.connect();
  const auto refused = [&](LinkPut put) {
    const Status status = world.link(0).put(put, world.now());
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(refused(make_put(1, *source, *target, 501)), HasSubstr("rank 1's buffer of 500"));
  EXPECT_THAT(refused(make_put(1, *source, *target, 1001)), HasSubstr("buffer of 1000 bytes"));
  LinkPut put = make_put(1, *source, *target, 10);
  put.source_offset = ~uint64_t{0};
  refused(put);
  put = make_put(1, *source, *target, 10);
  put.target_offset = 491;
  refused(put);
  put = make_put(1, *source, *target, 10);
  put.target = nullptr;
  EXPECT_THAT(refused(put), HasSubstr("without source or target"));
  target->remote.rail_keys[0] = 0;
  EXPECT_THAT(refused(make_put(1, *source, *target, 10)), HasSubstr("no rail to rank 1"));
  world.run_for(10 * kMillisecond);
  EXPECT_TRUE(world.side(0).done.empty());
  EXPECT_EQ(world.failures(0), 0u);
}

TEST(Link, BufferThatOneRailLacksUsesTheOthers) {
  LinkWorld world({.rail_bytes_per_second = {1'000'000'000, 1'000'000'000}});
  world.connect();
  auto source = world.make_buffer(0, kMiB);
  auto target = world.make_buffer(1, kMiB);
  source->registered.on_rail[0].reset();
  ASSERT_TRUE(world.link(0).put(make_put(1, *source, *target, kMiB), world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done[1] == 1; }));
  EXPECT_EQ(world.link(0).stats()[0].bytes_sent, 0u);
  EXPECT_EQ(world.link(0).stats()[1].bytes_sent, kMiB);
}

TEST(Link, ManyPutsBeyondTheRecordsWindow) {
  LinkWorld world({});
  world.connect();
  auto source = world.make_buffer(0, 100);
  auto target = world.make_buffer(1, 100);
  constexpr uint64_t kPuts = 5000;
  for (uint64_t i = 0; i < kPuts; ++i) {
    ASSERT_TRUE(world.link(0).put(make_put(i, *source, *target, i % 100), world.now()).is_ok());
  }
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done.size() == kPuts; }));
  EXPECT_EQ(world.side(1).notified.size(), kPuts);
}

TEST(Link, OptionsAreChecked) {
  LinkWorld world({});
  Rail* rail = world.side(0).rails[0].get();
  const auto refusal = [&](const LinkOptions& options) {
    const auto link = Link::create(options, std::span(&rail, 1), 0, world.side(0));
    return link ? std::string("accepted") : std::string(link.error().message());
  };
  LinkOptions good{.self = 0, .peer = 1};
  good.pairs.push_back({});
  EXPECT_EQ(refusal(good), "accepted");
  LinkOptions bad = good;
  bad.peer = 0;
  EXPECT_THAT(refusal(bad), HasSubstr("rank 0 to itself"));
  bad = good;
  bad.pairs.clear();
  EXPECT_THAT(refusal(bad), HasSubstr("0 rail pairs"));
  bad = good;
  bad.pairs[0].local_rail = 1;
  EXPECT_THAT(refusal(bad), HasSubstr("there are 1 rails"));
  bad = good;
  bad.message_ring_bytes = 1000;
  EXPECT_THAT(refusal(bad), HasSubstr("message ring of 1000"));
  bad = good;
  bad.link_timeout_ns = 0;
  EXPECT_THAT(refusal(bad), HasSubstr("timeouts"));
}

TEST(Link, PeersWithOtherPlansAreRefused) {
  LinkWorld one({.rail_bytes_per_second = {1'000'000'000}});
  LinkWorld two({.rail_bytes_per_second = {1'000'000'000, 1'000'000'000}});
  const Status status = one.link(0).connect(two.link(1).address(), 0);
  EXPECT_EQ(status.code(), Code::kMismatch);
  EXPECT_THAT(std::string(status.message()), HasSubstr("plans 1 rail pairs"));
  EXPECT_FALSE(one.link(0).connect(pattern(100, 1), 0).is_ok());
  EXPECT_FALSE(one.link(0).connect({}, 0).is_ok());
}

TEST(Link, RingsOfDifferentSizeUseTheSmaller) {
  LinkWorldOptions options;
  options.link.message_ring_bytes = 256 * 1024;
  LinkWorld world(options);
  LinkOptions small{.self = 1, .peer = 0, .message_ring_bytes = 128 * 1024};
  small.pairs.push_back({});
  Rail* rail = world.side(1).rails[0].get();
  world.side(1).link.reset();
  auto link = Link::create(small, std::span(&rail, 1), 100, world.side(1));
  ASSERT_TRUE(link);
  world.side(1).link = std::move(*link);
  world.connect();
  LinkSoak soak(world, {.puts = 5, .messages = 300});
  EXPECT_TRUE(soak.run(10 * kSecond));
  soak.check();
}

TEST(Link, CloseReportsWhatIsOutstandingOnce) {
  LinkWorld world({.rail_bytes_per_second = {1'000'000, 1'000'000}});
  world.connect();
  auto source = world.make_buffer(0, kMiB);
  auto target = world.make_buffer(1, kMiB);
  for (uint64_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(world.link(0).put(make_put(i, *source, *target, kMiB), world.now()).is_ok());
  }
  world.run_for(kMillisecond);
  world.link(0).close(Status(Code::kAborted, "enough"), world.now());
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(world.side(0).done[i], 1);
    EXPECT_EQ(world.side(0).done_with[i].code(), Code::kAborted);
  }
  EXPECT_FALSE(world.link(0).put(make_put(9, *source, *target, 1), world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.link(0).closed(); }, world.now() + kSecond));
  EXPECT_EQ(world.side(0).failed, 0);
  // The peer was told: it does not wait for its rails to come back, nor end with an error for that.
  world.run_for(60 * kSecond);
  EXPECT_EQ(world.side(1).failed, 0);
  EXPECT_EQ(world.link(1).next_deadline(), kNever);
  world.link(1).close(Status(Code::kAborted, "me too"), world.now());
  EXPECT_TRUE(world.run_until([&] { return world.link(1).closed(); }, world.now() + kSecond));
}

TEST(Link, LastAcknowledgementIsNotLostWhenThePeerCloses) {
  LinkWorld world({});
  world.connect();
  auto source = world.make_buffer(0, 1000);
  auto target = world.make_buffer(1, 1000);
  // The receiver closes as soon as it has everything, before it could acknowledge.
  world.side(1).on_tag = [&](uint64_t) {
    world.link(1).close(Status(Code::kAborted, "done"), world.now());
  };
  ASSERT_TRUE(world.link(0).put(make_put(1, *source, *target, 1000), world.now()).is_ok());
  ASSERT_TRUE(
      world.run_until([&] { return world.side(0).done.count(1) == 1; }, world.now() + kSecond));
  EXPECT_TRUE(world.side(0).done_with.empty());
  EXPECT_EQ(world.side(0).failed, 0);
}

TEST(Link, PeerThatClosesBeforeItHasEverythingIsAnError) {
  LinkWorld world({.rail_bytes_per_second = {1'000'000}});
  world.connect();
  auto source = world.make_buffer(0, kMiB);
  auto target = world.make_buffer(1, kMiB);
  ASSERT_TRUE(world.link(0).put(make_put(1, *source, *target, kMiB), world.now()).is_ok());
  world.run_for(kMillisecond);
  world.link(1).close(Status(Code::kAborted, "gone"), world.now());
  ASSERT_TRUE(world.run_until([&] { return world.side(0).failed == 1; }, world.now() + kSecond));
  EXPECT_EQ(world.side(0).done[1], 1);
  EXPECT_THAT(std::string(world.side(0).failure.message()), HasSubstr("rank 1 closed its link"));
}

}  // namespace
}  // namespace railccl::testing_support
