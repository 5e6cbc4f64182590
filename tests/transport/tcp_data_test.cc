// Data through real TCP rails: random sizes with every byte checked, many endpoints, fairness,
// sleeping on the descriptor.
#include <gmock/gmock.h>
#include <poll.h>

#include <map>
#include <numeric>
#include <random>

#include "tests/transport/tcp_pair.h"
#include "transport/tcp/rail_core.h"

namespace railccl::testing_support {
namespace {

using Kind = RailEvent::Kind;

// Two rails with any number of endpoints between them, progressed on one thread.
class Fabric {
 public:
  explicit Fabric(const TcpRailOptions& options = test_options())
      : pair_("127.0.0.1", "127.0.0.2", options) {}

  Rail& rail(int side) { return pair_.rail(side); }
  RecordingSink& sink(int side) { return sinks_[static_cast<size_t>(side)]; }
  Endpoint& endpoint(int side, size_t index) {
    return *endpoints_[static_cast<size_t>(side)][index];
  }
  void connect(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      for (int side = 0; side < 2; ++side) {
        auto opened = rail(side).open_endpoint(i);
        ASSERT_TRUE(opened) << opened.error().message();
        endpoints_[static_cast<size_t>(side)].push_back(std::move(*opened));
      }
      ASSERT_TRUE(endpoint(0, i).connect(endpoint(1, i).address()));
      ASSERT_TRUE(endpoint(1, i).connect(endpoint(0, i).address()));
    }
    ASSERT_TRUE(until([&] {
      return sink(0).count(Kind::kConnected) == count && sink(1).count(Kind::kConnected) == count;
    }));
  }
  bool until(const std::function<bool()>& done) {
    const TimeNs deadline = pair_.now() + 60 * kSecond;
    while (!done()) {
      if (pair_.now() > deadline) return false;
      const bool first = sink(0).progress(rail(0), now());
      const bool second = sink(1).progress(rail(1), now());
      if (!first && !second && !done()) pair_.idle();
    }
    return true;
  }
  void progress(int side) { sink(side).progress(rail(side), now()); }
  // As one who has slept.
  void wake_up(int side) {
    rail(side).prepare_sleep();
    progress(side);  // before the sleep
    while (sink(side).progress(rail(side), now())) {
    }
  }
  // The rails are told this time from now on, or, with 0, the real one.
  void stop_clock_at(TimeNs time) { stopped_at_ = time; }
  TimeNs now() { return stopped_at_ != 0 ? stopped_at_ : pair_.now(); }

 private:
  TcpPair pair_;
  TimeNs stopped_at_ = 0;
  std::array<RecordingSink, 2> sinks_;
  std::array<std::vector<std::unique_ptr<Endpoint>>, 2> endpoints_;
};

struct RandomPut {
  int side = 0;  // the source's
  size_t offset = 0;
  size_t bytes = 0;
};

// Sizes around every limit of the implementation, and anything up to 4 MiB.
std::vector<RandomPut> random_puts(std::mt19937_64& random, size_t count, size_t space) {
  constexpr std::array<size_t, 10> kEdges{0, 1, 63, 64, 65, 16383, 16384, 16385, 65536, 65537};
  std::array<size_t, 2> used{};
  std::vector<RandomPut> puts;
  for (size_t i = 0; i < count; ++i) {
    const int side = static_cast<int>(random() % 2);
    size_t bytes = kEdges[random() % kEdges.size()];
    if (random() % 2 == 0) bytes = random() % (size_t{1} << (random() % 23));
    bytes = std::min(bytes, space - used[static_cast<size_t>(side)]);
    puts.push_back({side, used[static_cast<size_t>(side)], bytes});
    used[static_cast<size_t>(side)] += bytes;
  }
  return puts;
}

class TcpRandomPuts : public testing::TestWithParam<uint64_t> {};

TEST_P(TcpRandomPuts, EveryByteArrivesAtItsPlaceOnce) {
  SCOPED_TRACE(testing::Message() << "seed " << GetParam());
  std::mt19937_64 random(GetParam());
  constexpr size_t kSpace = size_t{24} << 20;
  constexpr size_t kPuts = 120;
  TcpRailOptions options = test_options();
  options.max_outstanding_puts = 1 + random() % 30;
  options.max_queued_bytes = 1 + random() % (size_t{4} << 20);
  options.send_buffer_bytes = random() % 2 ? 0 : 8192;
  options.receive_buffer_bytes = random() % 2 ? 0 : 8192;
  Fabric fabric(options);
  fabric.connect(1);
  std::array<TestBuffer, 2> sources{make_buffer(fabric.rail(0), kSpace, 0),
                                    make_buffer(fabric.rail(1), kSpace, 0)};
  std::array<TestBuffer, 2> targets{make_buffer(fabric.rail(0), kSpace, 0xee),
                                    make_buffer(fabric.rail(1), kSpace, 0xee)};
  fill_pattern(sources[0].bytes, GetParam());
  fill_pattern(sources[1].bytes, GetParam() + 1000);
  const std::vector<RandomPut> puts = random_puts(random, kPuts, kSpace);
  std::array<std::map<uint64_t, size_t>, 2> seen;  // by receiving side: token to bytes
  for (int side = 0; side < 2; ++side) {
    fabric.sink(side).set_reaction([&, side](const RailEvent& event) {
      if (event.kind != Kind::kNotification) return;
      const RandomPut& put = puts[event.notification[0]];
      const auto from = static_cast<size_t>(put.side);
      EXPECT_EQ(put.side, 1 - side);
      EXPECT_EQ(event.bytes, put.bytes);
      const auto landed = std::span(targets[1 - from].bytes).subspan(put.offset, put.bytes);
      const auto wanted = std::span(sources[from].bytes).subspan(put.offset, put.bytes);
      EXPECT_TRUE(std::ranges::equal(landed, wanted));
      EXPECT_TRUE(seen[static_cast<size_t>(side)].emplace(event.notification[0], 1).second);
    });
  }
  for (uint64_t i = 0; i < puts.size(); ++i) {
    const auto from = static_cast<size_t>(puts[i].side);
    const Put put{.token = i,
                  .source = sources[from].registration.get(),
                  .source_offset = puts[i].offset,
                  .bytes = puts[i].bytes,
                  .remote_key = targets[1 - from].registration->key(),
                  .remote_offset = puts[i].offset,
                  .notification = {i, 0, 0, 0}};
    Status status;
    ASSERT_TRUE(fabric.until([&] {
      status = fabric.endpoint(puts[i].side, 0).put(put);
      return status.code() != Code::kBackPressure;
    }));
    ASSERT_TRUE(status) << status.message();
  }
  ASSERT_TRUE(fabric.until([&] {
    return seen[0].size() + seen[1].size() == kPuts &&
           fabric.sink(0).count(Kind::kPutDone) + fabric.sink(1).count(Kind::kPutDone) == kPuts;
  }));
  for (int side = 0; side < 2; ++side) {
    size_t used = 0;
    for (const RandomPut& put : puts) used += put.side == side ? put.bytes : 0;
    const auto& target = targets[static_cast<size_t>(1 - side)].bytes;
    EXPECT_TRUE(all_equal(std::span(target).subspan(used), 0xee)) << "written past the puts";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TcpRandomPuts, testing::Range<uint64_t>(1, 9));

TEST(TcpData, TwoHundredEndpointsOnOneRail) {
  constexpr size_t kEndpoints = 200;
  constexpr size_t kBytes = 3000;
  Fabric fabric;
  fabric.connect(kEndpoints);
  TestBuffer source = make_buffer(fabric.rail(0), kBytes * kEndpoints, 0);
  TestBuffer target = make_buffer(fabric.rail(1), kBytes * kEndpoints, 0);
  fill_pattern(source.bytes, 5);
  for (uint64_t i = 0; i < kEndpoints; ++i) {
    ASSERT_TRUE(fabric.endpoint(0, i).put({.token = i,
                                           .source = source.registration.get(),
                                           .source_offset = i * kBytes,
                                           .bytes = kBytes,
                                           .remote_key = target.registration->key(),
                                           .remote_offset = i * kBytes}));
  }
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(0).count(Kind::kPutDone) == kEndpoints; }));
  EXPECT_TRUE(has_pattern(target.bytes, 5));
  for (uint64_t i = 0; i < kEndpoints; ++i) {
    EXPECT_EQ(fabric.sink(1).count(Kind::kNotification, i), 1U) << "endpoint " << i;
  }
}

// Small ones that come whole are used where they came; the rest of a put is received in its place.
TEST(TcpData, PutsIntoMemoryByViewAreNotCopiedAgain) {
  constexpr size_t kBytes = 16 << 10;
  Fabric fabric;
  fabric.connect(1);
  TestBuffer source = make_buffer(fabric.rail(0), kBytes, 0);
  TestBuffer target = make_buffer(fabric.rail(1), kBytes, 0, true);
  fill_pattern(source.bytes, 8);
  const std::byte* shown = nullptr;
  fabric.sink(1).set_reaction([&](const RailEvent& event) {
    if (event.kind != Kind::kNotification) return;
    shown = event.data;
    EXPECT_TRUE(has_pattern({event.data, event.bytes}, 8));
  });
  Put put{.source = source.registration.get(),
          .bytes = kBytes,
          .remote_key = target.registration->key()};
  ASSERT_TRUE(fabric.endpoint(0, 0).put(put));
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(1).count(Kind::kNotification) == 1; }));
  EXPECT_NE(shown, target.bytes.data());
  EXPECT_TRUE(all_equal(target.bytes, 0));
  // What nobody is told of can be nowhere else.
  put.notify = false;
  ASSERT_TRUE(fabric.endpoint(0, 0).put(put));
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(0).count(Kind::kPutDone) == 2; }));
  EXPECT_TRUE(has_pattern(target.bytes, 8));
}

// A put that nothing answers: its sender waits for it no longer than this where the rail is polled.
TEST(TcpData, ALonePutIsAcknowledgedSoon) {
  Fabric fabric;
  fabric.connect(1);
  const TimeNs start = fabric.now();
  fabric.stop_clock_at(start);
  ASSERT_TRUE(fabric.endpoint(0, 0).put({.token = 1}));
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(1).count(Kind::kNotification) == 1; }));
  fabric.stop_clock_at(start + tcp::kAcknowledgeWhenPolled - 1);
  for (int i = 0; i < 100; ++i) {
    fabric.progress(0);
    fabric.progress(1);
  }
  EXPECT_EQ(fabric.sink(0).completions(0, 1), 0U) << "it would have travelled alone";
  fabric.stop_clock_at(start + tcp::kAcknowledgeWhenPolled);
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(0).completions(0, 1) == 1; }));
}

// Each peer's put waits for an answer of its own: what is owed to another one does not hurry it.
TEST(TcpData, PutsOfTwoPeersAreAcknowledgedEachInItsTime) {
  Fabric fabric;
  fabric.connect(2);
  const TimeNs start = fabric.now();
  const TimeNs later = start + tcp::kAcknowledgeWhenPolled / 2;
  for (const auto& [index, time] : {std::pair{size_t{0}, start}, std::pair{size_t{1}, later}}) {
    fabric.stop_clock_at(time);
    ASSERT_TRUE(fabric.endpoint(0, index).put({.token = 1}));
    const size_t arrived = index + 1;
    ASSERT_TRUE(fabric.until([&] { return fabric.sink(1).count(Kind::kNotification) == arrived; }));
  }
  fabric.stop_clock_at(start + tcp::kAcknowledgeWhenPolled);
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(0).completions(0, 1) == 1; }));
  for (int i = 0; i < 100; ++i) {
    fabric.progress(1);
    fabric.progress(0);
  }
  EXPECT_EQ(fabric.sink(0).completions(1, 1), 0U) << "it had half of its time left";
  fabric.stop_clock_at(later + tcp::kAcknowledgeWhenPolled);
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(0).completions(1, 1) == 1; }));
}

// Bulk goes over a socket of its own: what is owed on the other one would take a system call before
// it.
TEST(TcpData, BulkDoesNotWaitForAcknowledgements) {
  Fabric fabric;
  fabric.connect(1);
  const size_t bytes = test_options().small_put_bytes + 1;
  TestBuffer source = make_buffer(fabric.rail(1), bytes, 1);
  TestBuffer target = make_buffer(fabric.rail(0), bytes, 0);
  const TimeNs start = fabric.now();
  fabric.stop_clock_at(start);
  ASSERT_TRUE(fabric.endpoint(0, 0).put({.token = 1}));
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(1).count(Kind::kNotification) == 1; }));
  ASSERT_TRUE(fabric.endpoint(1, 0).put(make_put(source, target, bytes, 2)));
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(1).completions(0, 2) == 1; }));
  EXPECT_EQ(fabric.sink(0).completions(0, 1), 0U) << "its acknowledgement was sent before the bulk";
  EXPECT_TRUE(all_equal(target.bytes, 1));
  fabric.stop_clock_at(start + tcp::kAcknowledgeWhenPolled);
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(0).completions(0, 1) == 1; }));
}

TEST(TcpData, ABulkStreamDoesNotHoldUpOthers) {
  constexpr size_t kBulk = size_t{64} << 20;
  TcpRailOptions options = test_options();
  options.max_queued_bytes = 4 * kBulk;
  Fabric fabric(options);
  fabric.connect(2);
  TestBuffer source = make_buffer(fabric.rail(0), kBulk, 1);
  TestBuffer target = make_buffer(fabric.rail(1), kBulk, 0);
  const Put bulk{.source = source.registration.get(),
                 .bytes = kBulk,
                 .remote_key = target.registration->key(),
                 .notification = {1}};
  ASSERT_TRUE(fabric.endpoint(0, 0).put(bulk));
  // Later, on the same endpoint and on another one.
  ASSERT_TRUE(fabric.endpoint(0, 0).put({.notification = {2}}));
  ASSERT_TRUE(fabric.endpoint(0, 1).put({.notification = {3}}));
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(1).count(Kind::kNotification) == 3; }));
  std::vector<uint64_t> order;
  for (const RailEvent& event : fabric.sink(1).events()) {
    if (event.kind == Kind::kNotification) order.push_back(event.notification[0]);
  }
  EXPECT_EQ(order.back(), 1U) << "small puts waited behind a bulk one";
}

TEST(TcpData, ProgressReturnsInTheMiddleOfALargePut) {
  constexpr size_t kBulk = size_t{64} << 20;
  TcpRailOptions options = test_options();
  options.max_queued_bytes = 4 * kBulk;
  Fabric fabric(options);
  fabric.connect(1);
  TestBuffer source = make_buffer(fabric.rail(0), kBulk, 1);
  TestBuffer target = make_buffer(fabric.rail(1), kBulk, 0);
  ASSERT_TRUE(fabric.endpoint(0, 0).put({.source = source.registration.get(),
                                         .bytes = kBulk,
                                         .remote_key = target.registration->key()}));
  size_t rounds = 0;
  ASSERT_TRUE(fabric.until([&] {
    ++rounds;
    return fabric.sink(1).count(Kind::kNotification) == 1;
  }));
  EXPECT_GE(rounds, kBulk / (4U << 20)) << "one call moved more than a caller should wait for";
}

bool is_readable(const Rail& rail) {
  pollfd descriptor{rail.wake_fd(), POLLIN, 0};
  return poll(&descriptor, 1, 0) == 1;
}

bool becomes_readable(const Rail& rail) {
  pollfd descriptor{rail.wake_fd(), POLLIN, 0};
  return poll(&descriptor, 1, 5000) == 1;
}

TEST(TcpWakeFd, IsReadableWheneverThereIsSomethingToDo) {
  Fabric fabric;
  fabric.connect(1);
  ASSERT_TRUE(fabric.until([&] {
    fabric.wake_up(0);
    fabric.wake_up(1);
    return !is_readable(fabric.rail(0)) && !is_readable(fabric.rail(1));
  }));
  fabric.stop_clock_at(fabric.now());
  ASSERT_TRUE(fabric.endpoint(0, 0).put({.token = 1}));
  fabric.wake_up(0);
  EXPECT_FALSE(is_readable(fabric.rail(0)));
  EXPECT_TRUE(is_readable(fabric.rail(1))) << "a put has arrived";
  fabric.wake_up(1);
  EXPECT_EQ(fabric.sink(0).completions(0, 1), 0U);
  // Nothing answers it: its acknowledgement goes alone, some time later, and that wakes both.
  ASSERT_TRUE(becomes_readable(fabric.rail(1))) << "an acknowledgement waits to be sent";
  fabric.stop_clock_at(0);
  while (!is_readable(fabric.rail(0))) fabric.wake_up(1);
  fabric.wake_up(0);
  EXPECT_EQ(fabric.sink(0).completions(0, 1), 1U);
  EXPECT_GT(fabric.sink(0).find(Kind::kPutDone, 0)->held_back, 0U);
  ASSERT_TRUE(fabric.until([&] {
    fabric.wake_up(1);
    return !is_readable(fabric.rail(1));
  }));
  EXPECT_FALSE(is_readable(fabric.rail(0)));
  fabric.endpoint(0, 0).close();
  EXPECT_TRUE(is_readable(fabric.rail(0))) << "kClosed waits to be told";
}

TEST(TcpWakeFd, IsReadableWhileAConnectionIsToBeMade) {
  Fabric fabric;
  auto one = fabric.rail(0).open_endpoint(1);
  auto other = fabric.rail(1).open_endpoint(1);
  ASSERT_TRUE(one && other);
  fabric.progress(0);
  ASSERT_FALSE(is_readable(fabric.rail(0)));
  ASSERT_TRUE((*one)->connect((*other)->address()));
  EXPECT_TRUE(is_readable(fabric.rail(0)));
}

TEST(TcpEndpointLife, DestroyingWithPutsUnderWayRaisesNothing) {
  Fabric fabric;
  auto one = fabric.rail(0).open_endpoint(77);
  auto other = fabric.rail(1).open_endpoint(78);
  ASSERT_TRUE(one && other);
  ASSERT_TRUE((*one)->connect((*other)->address()));
  ASSERT_TRUE((*other)->connect((*one)->address()));
  ASSERT_TRUE(fabric.until([&] {
    return fabric.sink(0).count(Kind::kConnected) == 1 &&
           fabric.sink(1).count(Kind::kConnected) == 1;
  }));
  ASSERT_TRUE((*one)->put({.token = 1}));
  one->reset();
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(1).count(Kind::kFailed) == 1; }));
  EXPECT_EQ(fabric.sink(0).count(Kind::kPutDone), 0U);
  EXPECT_EQ(fabric.sink(0).count(Kind::kFailed), 0U);
}

TEST(TcpEndpointLife, ConnectingToItselfIsRefused) {
  Fabric fabric;
  auto one = fabric.rail(0).open_endpoint(1);
  ASSERT_TRUE(one);
  EXPECT_EQ((*one)->connect((*one)->address()).code(), Code::kInvalidArgument);
}

TEST(TcpEndpointLife, BothEndsMayBeOnOneRail) {
  Fabric fabric;
  auto one = fabric.rail(0).open_endpoint(1);
  auto other = fabric.rail(0).open_endpoint(2);
  ASSERT_TRUE(one && other);
  ASSERT_TRUE((*one)->connect((*other)->address()));
  ASSERT_TRUE((*other)->connect((*one)->address()));
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(0).count(Kind::kConnected) == 2; }));
  ASSERT_TRUE((*one)->put({.token = 1}));
  ASSERT_TRUE(fabric.until([&] { return fabric.sink(0).count(Kind::kNotification, 2) == 1; }));
}

TEST(TcpEndpointLife, MixedAddressFamiliesAreNamed) {
  TcpPair pair("127.0.0.1", "::1", test_options());
  auto one = pair.rail(0).open_endpoint(1);
  auto other = pair.rail(1).open_endpoint(1);
  ASSERT_TRUE(one && other);
  const Status status = (*one)->connect((*other)->address());
  EXPECT_EQ(status.code(), Code::kInvalidUsage);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("RAILCCL_SOCKET_FAMILY"));
}

TEST(TcpMemory, OnlyHostMemoryCanBeRegistered) {
  Fabric fabric;
  std::byte byte{};
  EXPECT_EQ(fabric.rail(0)
                .register_memory({.kind = MemoryKind::kCuda, .address = &byte, .bytes = 1})
                .error()
                .code(),
            Code::kInvalidUsage);
  EXPECT_FALSE(fabric.rail(0).register_memory({.address = &byte, .bytes = 0}));
  EXPECT_FALSE(fabric.rail(0).register_memory({.address = nullptr, .bytes = 1}));
  EXPECT_FALSE(fabric.rail(0).register_memory({.address = &byte, .bytes = ~size_t{0}}));
}

}  // namespace
}  // namespace railccl::testing_support
