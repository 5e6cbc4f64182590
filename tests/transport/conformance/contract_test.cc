// One test, or a few, for each line of the contract in transport/rail.h but the eighth, which
// contract_close_test.cc has.
#include <gmock/gmock.h>
#include <poll.h>

#include <array>

#include "tests/transport/conformance/rail_conformance.h"

namespace railccl::testing_support {
namespace {

using Kind = RailEvent::Kind;

constexpr size_t kSmall = 1000;
constexpr size_t kLarge = 300'000;

TEST_P(RailConformance, InfoSaysWhatTheRailCanDo) {
  start();
  for (int side = 0; side < 2; ++side) {
    EXPECT_FALSE(rail(side).info().name.empty());
    EXPECT_GE(rail(side).info().max_put_bytes, kLarge);
    EXPECT_NE(rail(side).info().memory_kinds & static_cast<uint32_t>(MemoryKind::kHost), 0U);
  }
}

TEST_P(RailConformance, AddressFitsItsBound) {
  start();
  auto opened = rail(0).open_endpoint(kTag);
  ASSERT_TRUE(opened);
  EXPECT_GT((*opened)->address().size(), 0U);
  EXPECT_LE((*opened)->address().size(), kMaxAddressBytes);
}

TEST_P(RailConformance, Line01EveryPutCompletesOnce) {
  connect();
  TestBuffer source = make_buffer(rail(0), kLarge, 1);
  TestBuffer target = make_buffer(rail(1), kLarge, 0);
  constexpr uint64_t kPuts = 200;
  for (uint64_t i = 0; i < kPuts; ++i) {
    ASSERT_TRUE(put(0, make_put(source, target, i % 10 == 0 ? kLarge : i * 3, i)));
  }
  ASSERT_TRUE(progress_until(
      [&] { return count(0, Kind::kPutDone) >= kPuts && count(1, Kind::kNotification) >= kPuts; }));
  settle();
  for (uint64_t i = 0; i < kPuts; ++i) EXPECT_EQ(sink(0).completions(kTag, i), 1U) << "put " << i;
  for (const RailEvent& event : sink(0).events()) EXPECT_TRUE(event.status);
  EXPECT_EQ(count(1, Kind::kNotification), kPuts);
  close_both();
  EXPECT_EQ(count(0, Kind::kPutDone), kPuts);
}

TEST_P(RailConformance, Line01EveryPutCompletesOnceAfterClose) {
  connect();
  TestBuffer source = make_buffer(rail(0), kLarge, 1);
  TestBuffer target = make_buffer(rail(1), kLarge, 0);
  uint64_t accepted = 0;
  while (accepted < 1000 && endpoint(0).put(make_put(source, target, kLarge, accepted))) ++accepted;
  ASSERT_GT(accepted, 0U);
  endpoint(0).close();
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kClosed) == 1; }));
  settle();
  for (uint64_t i = 0; i < accepted; ++i) EXPECT_EQ(sink(0).completions(kTag, i), 1U);
  EXPECT_EQ(sink(0).events().back().kind, Kind::kClosed) << "an event came after kClosed";
}

TEST_P(RailConformance, Line01EveryPutCompletesOnceAfterFailure) {
  connect();
  TestBuffer source = make_buffer(rail(0), kLarge, 1);
  TestBuffer target = make_buffer(rail(1), kLarge, 0);
  Put bad = make_put(source, target, kSmall, 0);
  bad.remote_offset = kLarge;
  ASSERT_TRUE(endpoint(0).put(bad));
  uint64_t accepted = 1;
  for (int i = 0; i < 20; ++i) {
    if (endpoint(0).put(make_put(source, target, kLarge, accepted))) ++accepted;
  }
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kFailed) == 1; }));
  EXPECT_FALSE(endpoint(0).put(make_put(source, target, kSmall, 9999)));
  endpoint(0).close();
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kClosed) == 1; }));
  for (uint64_t i = 0; i < accepted; ++i) EXPECT_EQ(sink(0).completions(kTag, i), 1U);
  EXPECT_EQ(sink(0).completions(kTag, 9999), 0U) << "a put that was not accepted completed";
}

TEST_P(RailConformance, Line02EventsComeOnlyFromProgress) {
  connect();
  TestBuffer source = make_buffer(rail(0), kSmall, 1);
  TestBuffer target = make_buffer(rail(1), kSmall, 0);
  const size_t before = sink(0).events().size();
  ASSERT_TRUE(endpoint(0).put(make_put(source, target, kSmall, 1)));
  endpoint(0).close();
  EXPECT_EQ(sink(0).events().size(), before);
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kClosed) == 1; }));
  EXPECT_TRUE(sink(0).inside_progress_only());
  EXPECT_TRUE(sink(1).inside_progress_only());
}

TEST_P(RailConformance, Line02PutAndCloseAreAllowedInsideEvents) {
  connect();
  TestBuffer source = make_buffer(rail(1), kSmall, 9);
  TestBuffer target = make_buffer(rail(0), kSmall, 0);
  TestBuffer ping = make_buffer(rail(0), kSmall, 5);
  TestBuffer ping_target = make_buffer(rail(1), kSmall, 0);
  sink(1).set_reaction([&](const RailEvent& event) {
    if (event.kind != Kind::kNotification) return;
    EXPECT_TRUE(endpoint(1).put(make_put(source, target, kSmall, event.notification[0])));
  });
  sink(0).set_reaction([&](const RailEvent& event) {
    if (event.kind == Kind::kNotification) endpoint(0).close();
  });
  ASSERT_TRUE(endpoint(0).put(make_put(ping, ping_target, kSmall, 1)));
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kClosed) == 1; }));
  EXPECT_EQ(count(0, Kind::kNotification), 1U);
  EXPECT_TRUE(all_equal(target.bytes, 9));
}

TEST_P(RailConformance, Line03NotificationIsSeenAfterItsData) {
  put_patterns(false, [](const RailEvent& event, std::span<const std::byte> place) {
    EXPECT_TRUE(event.data == nullptr || event.data == place.data());
    EXPECT_TRUE(has_pattern(place, event.notification[0]));
  });
}

TEST_P(RailConformance, Line03MemoryByViewMayShowItsDataElsewhere) {
  put_patterns(true, [](const RailEvent& event, std::span<const std::byte> place) {
    const std::byte* const data = event.data == nullptr ? place.data() : event.data;
    EXPECT_TRUE(has_pattern({data, event.bytes}, event.notification[0]));
    EXPECT_TRUE(data == place.data() || all_equal(place, 0)) << "placed, too";
  });
}

TEST_P(RailConformance, Line04PutsNeedNoOrderToArrive) {
  connect();
  // Both directions at once, small and large mixed: each arrives whole, whatever the order.
  std::array<TestBuffer, 2> sources{make_buffer(rail(0), kLarge, 3),
                                    make_buffer(rail(1), kLarge, 4)};
  std::array<TestBuffer, 2> targets{make_buffer(rail(0), kLarge, 0),
                                    make_buffer(rail(1), kLarge, 0)};
  for (uint64_t i = 0; i < 20; ++i) {
    for (int side = 0; side < 2; ++side) {
      const auto s = static_cast<size_t>(side);
      ASSERT_TRUE(put(side, make_put(sources[s], targets[1 - s], i % 2 ? kLarge : kSmall, i)));
    }
  }
  ASSERT_TRUE(progress_until(
      [&] { return count(0, Kind::kNotification) == 20 && count(1, Kind::kNotification) == 20; }));
  EXPECT_TRUE(all_equal(targets[0].bytes, 4));
  EXPECT_TRUE(all_equal(targets[1].bytes, 3));
}

TEST_P(RailConformance, Line05BackPressureAcceptsNothingAndPasses) {
  start({.max_outstanding_puts = 8});
  connect();
  TestBuffer source = make_buffer(rail(0), kLarge, 1);
  TestBuffer target = make_buffer(rail(1), kLarge, 0);
  uint64_t accepted = 0;
  Status status;
  while (accepted < 100'000) {
    status = endpoint(0).put(make_put(source, target, kLarge, accepted));
    if (!status) break;
    ++accepted;
  }
  ASSERT_EQ(status.code(), Code::kBackPressure) << accepted << " puts were accepted";
  ASSERT_TRUE(put(0, make_put(source, target, kLarge, accepted))) << "still refused";
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kPutDone) == accepted + 1; }));
  settle();
  EXPECT_EQ(count(1, Kind::kNotification), accepted + 1) << "a refused put was delivered";
  EXPECT_EQ(count(0, Kind::kFailed), 0U);
}

TEST_P(RailConformance, Line06ZeroBytePutNotifies) {
  connect();
  ASSERT_TRUE(put(0, {.token = 77, .notification = {1, 2, 3, 4}}));
  ASSERT_TRUE(progress_until(
      [&] { return count(0, Kind::kPutDone) == 1 && count(1, Kind::kNotification) == 1; }));
  const RailEvent* event = sink(1).find(Kind::kNotification, kTag + 1);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(event->notification, (Notification{1, 2, 3, 4}));
  EXPECT_EQ(event->bytes, 0U);
  EXPECT_EQ(sink(0).completions(kTag, 77), 1U);
}

// Three times, since the first sleep of a rail may find it prepared from before.
TEST_P(RailConformance, WhoPreparedToSleepIsWoken) {
  connect();
  if (rail(1).wake_fd() < 0) return;  // its time is simulated
  for (uint64_t i = 0; i < 3; ++i) {
    settle();
    do {
      rail(1).prepare_sleep();
    } while (sink(1).progress(rail(1), pair_->now()));
    ASSERT_TRUE(put(0, {.token = i}));
    pollfd descriptor{rail(1).wake_fd(), POLLIN, 0};
    const TimeNs deadline = pair_->now() + 10 * kSecond;
    while (poll(&descriptor, 1, 1) == 0 && pair_->now() < deadline) {
      sink(0).progress(rail(0), pair_->now());
    }
    EXPECT_NE(descriptor.revents & POLLIN, 0) << "put " << i << " woke nobody";
    EXPECT_TRUE(progress_until([&] { return count(1, Kind::kNotification) == i + 1; }));
  }
}

TEST_P(RailConformance, FlushSendsWhatWasPut) {
  connect();
  settle();
  ASSERT_TRUE(put(0, {.token = 5}));
  sink(0).flush(rail(0), pair_->now());
  const TimeNs deadline = pair_->now() + 10 * kSecond;
  while (count(1, Kind::kNotification) == 0 && pair_->now() < deadline) {
    if (!sink(1).progress(rail(1), pair_->now())) pair_->idle();
  }
  EXPECT_EQ(count(1, Kind::kNotification), 1U);
  EXPECT_TRUE(progress_until([&] { return count(0, Kind::kPutDone) == 1; }));
}

TEST_P(RailConformance, PutWithoutNotificationRaisesNone) {
  connect();
  TestBuffer source = make_buffer(rail(0), kSmall, 6);
  TestBuffer target = make_buffer(rail(1), kSmall, 0);
  Put silent = make_put(source, target, kSmall, 1);
  silent.notify = false;
  ASSERT_TRUE(put(0, silent));
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kPutDone) == 1; }));
  settle();
  EXPECT_EQ(count(1, Kind::kNotification), 0U);
  EXPECT_TRUE(all_equal(target.bytes, 6));
}

constexpr size_t kRefusedBytes = 40'000;

// The source and target of a put that the target must refuse.
struct Refusal {
  TestBuffer source;
  TestBuffer target;
  Put bad;
};

// Small puts of verbs rails are copied into their place after their message has arrived.
bool acknowledges_first(const Rail& rail, size_t bytes) {
  return rail.info().transport == TransportKind::kVerbs && bytes < kRefusedBytes;
}

Refusal make_refusal(Rail& from, Rail& to, size_t bytes) {
  Refusal refusal{make_buffer(from, kRefusedBytes, 1), make_buffer(to, kRefusedBytes, 0), {}};
  refusal.bad = make_put(refusal.source, refusal.target, bytes, 1);
  return refusal;
}

// `is_acknowledged_first`: the NIC has acknowledged the put before the target looks at it.
void expect_refused(const RecordingSink& initiator, const RecordingSink& target,
                    const Refusal& refusal, bool is_acknowledged_first) {
  EXPECT_EQ(initiator.count(Kind::kFailed, kTag), 1U);
  EXPECT_EQ(target.count(Kind::kFailed, kTag + 1), 1U);
  EXPECT_EQ(target.count(Kind::kNotification), 0U);
  for (const RecordingSink* sink : {&initiator, &target}) {
    for (const RailEvent& event : sink->events()) {
      if (event.kind == Kind::kFailed) {
        EXPECT_FALSE(event.status.message().empty());
      }
    }
  }
  const RailEvent* done = initiator.find(Kind::kPutDone, kTag);
  ASSERT_NE(done, nullptr);
  EXPECT_EQ(done->status.is_ok(), is_acknowledged_first) << "of a refused put";
  EXPECT_TRUE(all_equal(refusal.target.bytes, 0)) << "a refused put wrote";
}

TEST_P(RailConformance, Line07UnknownKeyIsRefused) {
  for (const size_t bytes : {kSmall, kRefusedBytes}) {
    start();
    connect();
    Refusal refusal = make_refusal(rail(0), rail(1), bytes);
    refusal.bad.remote_key ^= 0x5555;
    ASSERT_TRUE(endpoint(0).put(refusal.bad));
    ASSERT_TRUE(progress_until(
        [&] { return count(0, Kind::kFailed) == 1 && count(1, Kind::kFailed) == 1; }));
    expect_refused(sink(0), sink(1), refusal, acknowledges_first(rail(0), bytes));
  }
}

TEST_P(RailConformance, Line07RangeBeyondTheRegistrationIsRefused) {
  struct Range {
    uint64_t offset;
    size_t bytes;
  };
  constexpr uint64_t kHuge = ~uint64_t{0};
  for (const auto& [offset, bytes] :
       {Range{1, kRefusedBytes}, Range{kRefusedBytes, 1}, Range{kHuge, 1},
        Range{kHuge - kSmall + 1, kSmall}, Range{kHuge - 10, kRefusedBytes}}) {
    SCOPED_TRACE(testing::Message() << "offset " << offset << " bytes " << bytes);
    start();
    connect();
    Refusal refusal = make_refusal(rail(0), rail(1), bytes);
    refusal.bad.remote_offset = offset;
    ASSERT_TRUE(endpoint(0).put(refusal.bad));
    ASSERT_TRUE(progress_until(
        [&] { return count(0, Kind::kFailed) == 1 && count(1, Kind::kFailed) == 1; }));
    expect_refused(sink(0), sink(1), refusal, acknowledges_first(rail(0), bytes));
  }
}

TEST_P(RailConformance, Line07BadLocalRangeIsAnErrorOfTheCall) {
  connect();
  TestBuffer source = make_buffer(rail(0), kSmall, 1);
  TestBuffer foreign = make_buffer(rail(1), kSmall, 1);
  TestBuffer target = make_buffer(rail(1), kSmall, 0);
  Put bad = make_put(source, target, kSmall, 1);
  bad.source_offset = 1;
  EXPECT_EQ(endpoint(0).put(bad).code(), Code::kInvalidArgument);
  bad.source_offset = ~uint64_t{0};
  EXPECT_EQ(endpoint(0).put(bad).code(), Code::kInvalidArgument);
  bad.source_offset = 0;
  bad.source = nullptr;
  EXPECT_EQ(endpoint(0).put(bad).code(), Code::kInvalidArgument);
  settle();
  EXPECT_EQ(count(0, Kind::kPutDone), 0U);
  EXPECT_EQ(count(0, Kind::kFailed), 0U);
  ASSERT_TRUE(put(0, make_put(source, target, kSmall, 2))) << "the endpoint goes on";
}

TEST_P(RailConformance, PutBeforeConnectIsAnErrorOfTheCall) {
  start();
  auto opened = rail(0).open_endpoint(kTag);
  ASSERT_TRUE(opened);
  const Status status = (*opened)->put({.token = 1});
  EXPECT_FALSE(status);
  EXPECT_NE(status.code(), Code::kBackPressure);
}

TEST_P(RailConformance, DamagedAddressIsRefused) {
  start();
  auto opened = rail(0).open_endpoint(kTag);
  ASSERT_TRUE(opened);
  EXPECT_FALSE((*opened)->connect({}));
  EXPECT_FALSE((*opened)->connect(std::vector<std::byte>(300, std::byte{0xff})));
}

TEST_P(RailConformance, Line09SuccessMeansThatTheTargetHasTheData) {
  connect();
  TestBuffer source = make_buffer(rail(0), kLarge, 0x77);
  TestBuffer target = make_buffer(rail(1), kLarge, 0);
  bool checked = false;
  sink(0).set_reaction([&](const RailEvent& event) {
    if (event.kind != Kind::kPutDone) return;
    EXPECT_TRUE(event.status);
    EXPECT_TRUE(all_equal(target.bytes, 0x77));
    checked = true;
  });
  ASSERT_TRUE(put(0, make_put(source, target, kLarge, 1)));
  ASSERT_TRUE(progress_until([&] { return checked; }));
}

TEST_P(RailConformance, Line10DestroyedRegistrationIsClosedToPeers) {
  connect();
  TestBuffer source = make_buffer(rail(0), kSmall, 1);
  TestBuffer target = make_buffer(rail(1), kSmall, 0);
  ASSERT_TRUE(put(0, make_put(source, target, kSmall, 1)));
  ASSERT_TRUE(progress_until([&] { return count(0, Kind::kPutDone) == 1; }));
  ASSERT_TRUE(all_equal(target.bytes, 1));
  const Put late = make_put(source, target, kSmall, 2);
  target.registration.reset();
  std::ranges::fill(target.bytes, std::byte{0});
  ASSERT_TRUE(endpoint(0).put(late));
  ASSERT_TRUE(
      progress_until([&] { return count(0, Kind::kFailed) == 1 && count(1, Kind::kFailed) == 1; }));
  EXPECT_TRUE(all_equal(target.bytes, 0));
  EXPECT_EQ(count(1, Kind::kNotification), 1U);
}

TEST_P(RailConformance, KeysAreNeverZeroNorRepeated) {
  start();
  std::vector<TestBuffer> buffers;
  std::map<uint64_t, int> keys;
  for (int i = 0; i < 100; ++i) {
    buffers.push_back(make_buffer(rail(0), 64, 0));
    ++keys[buffers.back().registration->key()];
  }
  EXPECT_EQ(keys.size(), 100U);
  EXPECT_FALSE(keys.contains(0));
}

}  // namespace
}  // namespace railccl::testing_support
