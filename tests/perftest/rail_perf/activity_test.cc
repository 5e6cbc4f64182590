#include <gmock/gmock.h>

#include <deque>

#include "perftest/rail_perf/ping_pong.h"
#include "perftest/rail_perf/stream.h"

namespace railccl::perftest::railperf {
namespace {

// Keeps what it is given; takes `room` messages.
class FakeLink final : public Link {
 public:
  std::deque<LinkPut> puts;
  std::deque<std::vector<std::byte>> messages;
  size_t room = 4;

  Status put(const LinkPut& put, TimeNs) override {
    puts.push_back(put);
    return Status::ok();
  }
  Status send(std::span<const std::byte> header, std::span<const std::byte> body, TimeNs) override {
    if (messages.size() >= room) return error(Code::kBackPressure, "full");
    std::vector<std::byte> message(header.begin(), header.end());
    message.insert(message.end(), body.begin(), body.end());
    messages.push_back(std::move(message));
    return Status::ok();
  }
  std::vector<std::byte> address() const override { return {}; }
  Status connect(std::span<const std::byte>, TimeNs) override { return Status::ok(); }
  bool connected() const override { return true; }
  void on_rail_event(int, const RailEvent&, TimeNs) override {}
  void on_port_event(int, const RailEvent&, TimeNs) override {}
  void set_rail(int, bool, TimeNs) override {}
  Status on_control_path(std::span<const std::byte>, TimeNs) override { return Status::ok(); }
  bool progress(TimeNs) override { return false; }
  TimeNs next_deadline() const override { return kNever; }
  void close(const Status&, TimeNs) override {}
  bool idle() const override { return true; }
  bool closed() const override { return true; }
  std::vector<LinkRailStats> stats() const override { return {}; }
};

constexpr Slots kSlots = {.bytes = 100, .window = 4};

void step(Activity& activity, Link& link) {
  const auto stepped = activity.step(link, 0);
  ASSERT_TRUE(stepped) << stepped.error().message();
}

TEST(PutStream, KeepsItsWindowAndEndsWhenAllAreDone) {
  PutTimes times;
  PutStream stream(kSlots, {.iterations = 6}, times);
  FakeLink link;
  step(stream, link);
  EXPECT_EQ(link.puts.size(), 4u);
  step(stream, link);
  EXPECT_EQ(link.puts.size(), 4u);
  stream.on_put_done();
  stream.on_put_done();
  step(stream, link);
  ASSERT_EQ(link.puts.size(), 6u);
  EXPECT_EQ(link.puts[5].source_offset, 100u);
  EXPECT_EQ(link.puts[5].target_offset, 100u);
  EXPECT_EQ(link.puts[5].tag, 5u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(stream.done());
    stream.on_put_done();
  }
  EXPECT_TRUE(stream.done());
  const Stream result = stream.result();
  EXPECT_EQ(result.puts, 6u);
  EXPECT_EQ(result.bytes(), 600u);
  EXPECT_GT(result.seconds, 0);
  EXPECT_GE(result.peak_puts_per_second, result.puts_per_second() * 0.999);
}

TEST(PutStream, ATimeThatIsOverEndsItAfterThePutThatNoticed) {
  PutTimes times;
  PutStream stream(kSlots, {.time_ns = 1}, times);
  FakeLink link;
  while (link.puts.empty() || !stream.done()) {
    step(stream, link);
    stream.on_put_done();
    ASSERT_LE(link.puts.size(), 1000u);
  }
  EXPECT_EQ(stream.result().puts, link.puts.size());
}

TEST(Pinger, HasOnePutUnderwayAndWaitsForTheLastAcknowledgement) {
  RoundTrips trips;
  Pinger pinger(kSlots, {.iterations = 2}, trips);
  FakeLink link;
  step(pinger, link);
  step(pinger, link);
  EXPECT_EQ(link.puts.size(), 1u);
  pinger.on_notification(0);
  step(pinger, link);
  EXPECT_EQ(link.puts.size(), 2u);
  pinger.on_notification(1);
  step(pinger, link);
  EXPECT_EQ(link.puts.size(), 2u);
  EXPECT_EQ(trips.count(), 2u);
  EXPECT_FALSE(pinger.done());
  pinger.on_put_done();
  pinger.on_put_done();
  EXPECT_TRUE(pinger.done());
}

TEST(Ponger, AnswersEachPutOnce) {
  Ponger ponger(kSlots);
  FakeLink link;
  step(ponger, link);
  EXPECT_TRUE(link.puts.empty());
  ponger.on_notification(0);
  ponger.on_notification(1);
  step(ponger, link);
  step(ponger, link);
  EXPECT_EQ(link.puts.size(), 2u);
}

TEST(MessageStream, EndsWithTheAnswerToTheLastMessage) {
  MessageStream stream(16, {.iterations = 6});
  Receiver receiver;
  FakeLink there;
  FakeLink back;
  int arrived = 0;
  for (int round = 0; round < 10 && !stream.done(); ++round) {
    step(stream, there);
    EXPECT_LE(there.messages.size(), there.room);
    for (; !there.messages.empty(); there.messages.pop_front(), ++arrived) {
      EXPECT_EQ(there.messages.front().size(), 17u);
      receiver.on_message(there.messages.front());
    }
    step(receiver, back);
    for (; !back.messages.empty(); back.messages.pop_front()) {
      stream.on_message(back.messages.front());
    }
  }
  EXPECT_TRUE(stream.done());
  EXPECT_EQ(arrived, 6);
  EXPECT_EQ(stream.messages(), 6u);
}

}  // namespace
}  // namespace railccl::perftest::railperf
