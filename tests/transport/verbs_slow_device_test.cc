// A device whose calls take long, to start a queue pair or to end one: what its rail does
// meanwhile.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>

#include "tests/transport/over_fake_verbs.h"

namespace railccl::testing_support {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using Kind = RailEvent::Kind;

// A rail of a device that takes long over some of its calls.
class VerbsSlowDevice : public OverFakeVerbs {
 protected:
  VerbsSlowDevice() { fake_.add_device("mlx5_0", "10.1.0.1"); }
  ~VerbsSlowDevice() override {
    release();
    ends_.clear();
    rail_.reset();
  }
  // Two endpoints, of which the first is to connect to the second.
  void connect() {
    rail_ = open({.connect_timeout_ns = 5 * kSecond, .drain_timeout_ns = kSecond});
    for (const uint64_t tag : {1, 2}) ends_.push_back(*rail_->open_endpoint(tag));
    EXPECT_TRUE(ends_[0]->connect(ends_[1]->address()).is_ok());
  }
  void hold() {
    ++begun_;
    released_.wait();
  }
  void await_begun(int count) {
    while (begun_ < count) std::this_thread::yield();
  }
  void release() {
    if (std::exchange(held_, false)) release_.set_value();
  }
  bool closed_after(TimeNs pause) {
    now_ += pause;
    const auto events = progress(*rail_);
    return std::ranges::any_of(events,
                               [](const RailEvent& event) { return event.kind == Kind::kClosed; });
  }

  std::promise<void> release_;
  std::shared_future<void> released_ = release_.get_future().share();
  std::atomic<int> begun_ = 0;  // calls that take long
  bool held_ = true;
  std::unique_ptr<Rail> rail_;
  std::vector<std::unique_ptr<Endpoint>> ends_;
};

class VerbsSlowEnd : public VerbsSlowDevice {
 protected:
  VerbsSlowEnd() {
    fake_.on_destroy_queue_pair = [this] { hold(); };
    fake_.on_ready_to_receive = [this] { ++starts_; };
    connect();
    while (starts_ == 0) std::this_thread::yield();
  }
  std::atomic<int> starts_ = 0;
};

TEST_F(VerbsSlowEnd, IsNotWaitedForByTheRail) {
  ends_[0]->close();
  while (!closed_after(0)) std::this_thread::yield();
  ends_[0].reset();
  EXPECT_TRUE(rail_->open_endpoint(3));
  EXPECT_TRUE(held_);
}

TEST_F(VerbsSlowEnd, IsTheFenceOfAnEndpointThatDoesNotDrain) {
  fake_.flushes = false;
  ends_[0]->close();
  EXPECT_FALSE(closed_after(kMillisecond));
  while (begun_ == 0) {
    EXPECT_FALSE(closed_after(2 * kSecond));
    std::this_thread::yield();
  }
  EXPECT_FALSE(closed_after(2 * kSecond));
  release();
  while (!closed_after(kMillisecond)) std::this_thread::yield();
}

TEST_F(VerbsSlowEnd, IsNotGivenMoreAndMoreToEnd) {
  const auto open_many = [this] {
    Status status;
    for (uint64_t tag = 3; tag < 100 && status.is_ok(); ++tag) {
      const auto opened = rail_->open_endpoint(tag);
      if (!opened) status = opened.error();
    }
    return status;
  };
  EXPECT_TRUE(open_many().is_ok()) << "that it takes a moment is nothing";
  await_begun(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_THAT(text(open_many()), HasSubstr("queue pairs still to destroy"));
}

// As where a RoCE port asks for the address of a peer and nobody answers.
class VerbsSlowStart : public VerbsSlowDevice {
 protected:
  VerbsSlowStart() {
    fake_.on_ready_to_receive = [this] { hold(); };
    connect();
    await_begun(1);
  }
};

TEST_F(VerbsSlowStart, IsNotWaitedForByTheRailNorByThoseThatPassOn) {
  EXPECT_THAT(progress(*rail_), IsEmpty());
  auto third = rail_->open_endpoint(3);
  ASSERT_TRUE(third);
  (*third)->close();
  EXPECT_TRUE(closed_after(0));
  EXPECT_TRUE(held_);
}

// A peer is not to be blamed for what it was never asked.
TEST_F(VerbsSlowStart, IsNotTheTimeInWhichThePeerIsToAnswer) {
  EXPECT_THAT(progress(*rail_), IsEmpty());
  now_ += 6 * kSecond;
  EXPECT_THAT(progress(*rail_), IsEmpty());
  release();
  const auto events = await_events(*rail_, kSecond);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kFailed);
  EXPECT_THAT(text(events[0].status), HasSubstr("does not answer"));
}

// The NIC may still begin to receive.
TEST_F(VerbsSlowStart, PutsOffTheFenceUntilItIsDone) {
  ends_[0]->close();
  EXPECT_FALSE(closed_after(kMillisecond));
  EXPECT_FALSE(closed_after(2 * kSecond));
  EXPECT_FALSE(closed_after(2 * kSecond));
  release();
  while (!closed_after(0)) std::this_thread::yield();
}

TEST_F(VerbsSlowStart, IsGivenUpAtOnceBeforeItHasBegun) {
  ASSERT_TRUE(ends_[1]->connect(ends_[0]->address()).is_ok());
  ends_[1]->close();
  EXPECT_TRUE(closed_after(0));
  release();
  ends_[1].reset();
  ends_[0]->close();
  while (!closed_after(0)) std::this_thread::yield();
  ends_.clear();
  rail_.reset();
  EXPECT_EQ(begun_, 1) << "it was begun all the same";
}

TEST_F(VerbsSlowStart, OutlivesAnEndpointThatIsDestroyed) {
  std::atomic<int> destroyed = 0;
  fake_.on_destroy_queue_pair = [&] { ++destroyed; };
  ends_[0].reset();
  EXPECT_THAT(progress(*rail_), IsEmpty());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(destroyed, 0) << "while it is being started";
  release();
  while (destroyed == 0) std::this_thread::yield();
  ends_.clear();
  rail_.reset();
}

// The peer may be quicker than the call that connects to it.
class VerbsEarlyMessage : public VerbsSlowDevice {
 protected:
  VerbsEarlyMessage() {
    fake_.receives_early = true;
    fake_.on_ready_to_receive = [this] { hold(); };
    connect();
    await_begun(1);
  }
};

TEST_F(VerbsEarlyMessage, IsKeptUntilTheStartIsDone) {
  EXPECT_THAT(progress(*rail_), IsEmpty());
  release();
  const auto events = await_events(*rail_);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kFailed);
  EXPECT_THAT(text(events[0].status), HasSubstr("a message of 0 bytes came"));
}

TEST_F(VerbsEarlyMessage, OfAnEndpointThatIsClosedIsDrained) {
  EXPECT_THAT(progress(*rail_), IsEmpty());
  ends_[0]->close();
  release();
  while (!closed_after(0)) std::this_thread::yield();
}

}  // namespace
}  // namespace railccl::testing_support
