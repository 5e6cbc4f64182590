// What verbs rails make of a machine that is not as it should be, and of one that changes: over a
// libibverbs of the test's own.
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "tests/transport/fake_verbs.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl::testing_support {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = RailEvent::Kind;

class Sink final : public EventSink {
 public:
  void on_event(const RailEvent& event) override { events.push_back(event); }
  const RailEvent* find(Kind kind) const {
    for (const RailEvent& event : events) {
      if (event.kind == kind) return &event;
    }
    return nullptr;
  }
  std::vector<RailEvent> events;
};

std::string text(const Status& status) { return std::string(status.message()); }

class VerbsTrouble : public testing::Test {
 protected:
  VerbsDiscovery discover(const VerbsDiscoveryOptions& options = {}) {
    auto found = discover_verbs_rails(options, fake_.api());
    if (found) return std::move(*found);
    ADD_FAILURE() << found.error().message();
    return {};
  }
  std::unique_ptr<Rail> open(const VerbsRailOptions& options = {}) {
    const VerbsDiscovery found = discover();
    if (found.rails.empty()) {
      ADD_FAILURE() << fmt::format("{}", fmt::join(found.warnings, "; "));
      return nullptr;
    }
    auto rail = open_verbs_rail(found.rails[0], options, fake_.api());
    if (rail) return std::move(*rail);
    ADD_FAILURE() << rail.error().message();
    return nullptr;
  }
  // As an owner that sleeps after it.
  std::vector<RailEvent> progress(Rail& rail) {
    Sink sink;
    rail.prepare_sleep();
    while (rail.progress(now_, sink)) {
    }
    return sink.events;
  }
  // Until something has happened, with so much time between two looks.
  std::vector<RailEvent> await_events(Rail& rail, TimeNs pause = 0) {
    while (true) {
      std::vector<RailEvent> events = progress(rail);
      if (!events.empty()) return events;
      now_ += pause;
      std::this_thread::yield();
    }
  }

  FakeVerbs fake_;
  TimeNs now_ = kSecond;
};

// A rail with an endpoint, whose owner sleeps.
class VerbsSleep : public VerbsTrouble {
 protected:
  void SetUp() override {
    rail_ = open();
    ASSERT_NE(rail_, nullptr);
    auto endpoint = rail_->open_endpoint(1);
    ASSERT_TRUE(endpoint);
    endpoint_ = std::move(*endpoint);
    progress(*rail_);
  }
  bool is_shown() const {
    pollfd descriptor{rail_->wake_fd(), POLLIN, 0};
    return poll(&descriptor, 1, 0) > 0;
  }

  const FakeDevice& device_ = fake_.add_device("mlx5_0", "10.1.0.1");
  std::unique_ptr<Rail> rail_;
  std::unique_ptr<Endpoint> endpoint_;
};

// Each sleep that a completion ends costs one event and asking for the next one, and one that
// something else ends costs nothing.
TEST_F(VerbsSleep, AnOwnerThatSleepsIsShownEachCompletionOnce) {
  const int asked_at_first = fake_.events_asked_for;
  EXPECT_EQ(asked_at_first, 1);
  for (int i = 1; i <= 3; ++i) {
    now_ += kMillisecond;
    EXPECT_FALSE(is_shown());
    fake_.complete(device_);
    EXPECT_TRUE(is_shown());
    Sink sink;
    EXPECT_TRUE(rail_->progress(now_, sink));
    EXPECT_EQ(fake_.events_taken, i - 1);
    progress(*rail_);
    EXPECT_EQ(fake_.events_taken, i);
    EXPECT_EQ(fake_.events_asked_for, asked_at_first + i);
    now_ += kMillisecond;
    progress(*rail_);
    EXPECT_EQ(fake_.events_asked_for, asked_at_first + i);
  }
}

// An event whose completion was polled before it came.
TEST_F(VerbsSleep, AnEventWithNothingToPollIsTakenWhenItCallsBackAtOnce) {
  now_ += kMillisecond;
  fake_.ring(device_);
  EXPECT_TRUE(is_shown());
  progress(*rail_);
  progress(*rail_);
  EXPECT_FALSE(is_shown());
  EXPECT_EQ(fake_.events_taken, 1);
}

TEST_F(VerbsTrouble, ADeviceThatMayNotBeOpenedIsNamedAndLeftOut) {
  fake_.add_device("mlx5_0", "10.1.0.1").open_errno = EACCES;
  fake_.add_device("mlx5_1", "10.2.0.1");
  const VerbsDiscovery found = discover();
  ASSERT_EQ(found.rails.size(), 1u);
  EXPECT_EQ(found.rails[0].info.name, "mlx5_1:1");
  EXPECT_EQ(found.devices, 2);
  EXPECT_THAT(found.warnings, ElementsAre(AllOf(HasSubstr("mlx5_0"), HasSubstr("no permission"),
                                                HasSubstr("/dev/infiniband/uverbs"))));
}

TEST_F(VerbsTrouble, ADeviceWithoutItsNodeIsNamed) {
  fake_.add_device("mlx5_0", "10.1.0.1").open_errno = ENOENT;
  EXPECT_THAT(discover().warnings,
              ElementsAre(HasSubstr("there is no /dev/infiniband/uverbs-of-mlx5_0")));
}

TEST_F(VerbsTrouble, APortThatIsDownAtTheStartIsNamed) {
  fake_.add_device("mlx5_0", "10.1.0.1").ports[0].state = IBV_PORT_DOWN;
  const VerbsDiscovery found = discover();
  EXPECT_THAT(found.rails, IsEmpty());
  EXPECT_THAT(found.warnings, ElementsAre(AllOf(HasSubstr("mlx5_0:1"), HasSubstr("PORT_DOWN"),
                                                HasSubstr("up at the start"))));
}

TEST_F(VerbsTrouble, AGidIndexThatDoesNotExistIsNamedWithThoseThatDo) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  const VerbsDiscovery found = discover({.gid = {.index = 7}});
  EXPECT_THAT(found.rails, IsEmpty());
  EXPECT_THAT(found.warnings,
              ElementsAre(AllOf(HasSubstr("mlx5_0:1"), HasSubstr("no GID with index 7"),
                                HasSubstr("1: 10.1.0.1 RoCE v2"))));
}

TEST_F(VerbsTrouble, MemoryThatCannotBeLockedIsFoundOutAtOnceWithTheLimitAndTheWayOut) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  const VerbsDiscovery found = discover();
  fake_.register_errno = ENOMEM;
  const auto rail = open_verbs_rail(found.rails[0], {}, fake_.api());
  ASSERT_FALSE(rail);
  EXPECT_THAT(text(rail.error()), AllOf(HasSubstr("mlx5_0:1"), HasSubstr("cannot be locked"),
                                        HasSubstr("ulimit -l"), HasSubstr("limit")));
}

TEST_F(VerbsTrouble, ABufferThatCannotBeLockedIsAnErrorOfThatBufferOnly) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  const auto rail = open();
  std::vector<std::byte> memory(12345);
  fake_.register_errno = ENOMEM;
  const auto refused = rail->register_memory({.address = memory.data(), .bytes = memory.size()});
  ASSERT_FALSE(refused);
  EXPECT_THAT(text(refused.error()), AllOf(HasSubstr("12345 bytes"), HasSubstr("ulimit -l")));
  fake_.register_errno = 0;
  EXPECT_TRUE(rail->register_memory({.address = memory.data(), .bytes = memory.size()}));
}

TEST_F(VerbsTrouble, MoreQueuePairsThanAnAddressHoldsAreRefused) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  const VerbsDiscovery found = discover();
  for (const int count : {0, 33, 128}) {
    const auto rail = open_verbs_rail(found.rails[0], {.queue_pairs = count}, fake_.api());
    ASSERT_FALSE(rail) << count;
    EXPECT_THAT(text(rail.error()), HasSubstr("1 to 32"));
  }
}

TEST_F(VerbsTrouble, APeerThatNoWayLeadsToIsNamedWithBothAddresses) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  const auto rail = open();
  auto mine = rail->open_endpoint(1);
  auto other = rail->open_endpoint(2);
  ASSERT_TRUE(mine && other);
  fake_.ready_to_receive_errno = EHOSTUNREACH;
  ASSERT_TRUE((*mine)->connect((*other)->address()).is_ok());
  const auto events = await_events(*rail);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kFailed);
  EXPECT_THAT(text(events[0].status),
              AllOf(HasSubstr("mlx5_0:1"), HasSubstr("10.1.0.1 (index 1)"),
                    HasSubstr("no way there"), HasSubstr("No route to host")));
}

TEST_F(VerbsTrouble, APeerThatDoesNotAnswerIsNamedWithBothAddresses) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  const auto rail = open({.connect_timeout_ns = kSecond});
  auto mine = rail->open_endpoint(1);
  auto other = rail->open_endpoint(2);
  ASSERT_TRUE(mine && other);
  ASSERT_TRUE((*mine)->connect((*other)->address()).is_ok());
  EXPECT_THAT(progress(*rail), IsEmpty());
  const auto events = await_events(*rail, 2 * kSecond);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kFailed);
  EXPECT_THAT(text(events[0].status), AllOf(HasSubstr("mlx5_0:1 at 10.1.0.1"),
                                            HasSubstr("does not answer"), HasSubstr("network")));
}

TEST_F(VerbsTrouble, WhoPollsOnAsksForNoEventsAndStillHearsOfThePort) {
  FakeDevice& device = fake_.add_device("mlx5_0", "10.1.0.1");
  const auto rail = open();
  const auto endpoint = rail->open_endpoint(1);
  ASSERT_TRUE(endpoint);
  Sink sink;
  for (int round = 0; round < 100; ++round) rail->progress(now_, sink);
  EXPECT_EQ(fake_.events_asked_for, 0);
  fake_.raise(device, IBV_EVENT_PORT_ERR);
  now_ += 10 * kMillisecond;
  rail->progress(now_, sink);
  ASSERT_EQ(sink.events.size(), 1u);
  EXPECT_EQ(sink.events[0].kind, Kind::kRailDown);
  EXPECT_EQ(fake_.events_asked_for, 0);
  progress(*rail);
  EXPECT_EQ(fake_.events_asked_for, 1);
  progress(*rail);
  EXPECT_EQ(fake_.events_asked_for, 1) << "the first one has not come yet";
}

TEST_F(VerbsTrouble, APortThatGoesDownIsToldAndOpensNothingUntilItIsBack) {
  FakeDevice& device = fake_.add_device("mlx5_0", "10.1.0.1");
  const auto rail = open();
  fake_.raise(device, IBV_EVENT_PORT_ERR);
  auto events = progress(*rail);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kRailDown);
  EXPECT_THAT(text(events[0].status), AllOf(HasSubstr("mlx5_0:1"), HasSubstr("port error")));
  const auto refused = rail->open_endpoint(1);
  ASSERT_FALSE(refused);
  EXPECT_THAT(text(refused.error()), HasSubstr("port is down"));
  fake_.raise(device, IBV_EVENT_PORT_ACTIVE);
  events = progress(*rail);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kRailUp);
  EXPECT_TRUE(rail->open_endpoint(1));
}

TEST_F(VerbsTrouble, AnotherPortsEventsAreNotOurs) {
  FakeDevice& device = fake_.add_device("mlx5_0", "10.1.0.1");
  device.ports.push_back({.gids = gids_of("10.2.0.1")});
  const auto rail = open();
  fake_.raise(device, IBV_EVENT_PORT_ERR, 2);
  EXPECT_THAT(progress(*rail), IsEmpty());
  EXPECT_TRUE(rail->open_endpoint(1));
}

TEST_F(VerbsTrouble, ADeviceThatDiedDoesNotComeBack) {
  FakeDevice& device = fake_.add_device("mlx5_0", "10.1.0.1");
  const auto rail = open();
  fake_.raise(device, IBV_EVENT_DEVICE_FATAL);
  const auto events = progress(*rail);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kRailDown);
  fake_.raise(device, IBV_EVENT_PORT_ACTIVE);
  EXPECT_THAT(progress(*rail), IsEmpty());
  const auto refused = rail->open_endpoint(1);
  ASSERT_FALSE(refused);
  EXPECT_THAT(text(refused.error()), HasSubstr("catastrophic"));
}

TEST_F(VerbsTrouble, AnAddressThatMovedEndsItsEndpointsAndNewOnesHaveTheNewOne) {
  FakeDevice& device = fake_.add_device("mlx5_0", "10.1.0.1");
  const auto rail = open();
  auto mine = rail->open_endpoint(1);
  auto other = rail->open_endpoint(2);
  ASSERT_TRUE(mine && other);
  ASSERT_TRUE((*mine)->connect((*other)->address()).is_ok());
  // A table that changes elsewhere is nothing to them.
  auto more = gids_of("10.7.0.1");
  for (verbs::GidEntry& gid : more) {
    gid.index += 2;
    device.ports[0].gids.push_back(gid);
  }
  fake_.raise(device, IBV_EVENT_GID_CHANGE);
  EXPECT_THAT(progress(*rail), IsEmpty());

  const auto before = (*mine)->address();
  device.ports[0].gids = gids_of("10.9.0.1");
  fake_.raise(device, IBV_EVENT_GID_CHANGE);
  const auto events = progress(*rail);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kFailed);
  EXPECT_EQ(events[0].endpoint_tag, 1u);
  EXPECT_THAT(text(events[0].status), AllOf(HasSubstr("10.1.0.1"), HasSubstr("GID table change")));
  auto next = rail->open_endpoint(3);
  ASSERT_TRUE(next);
  const auto gid_of = [](const std::vector<std::byte>& address) {
    return std::vector<std::byte>(address.begin() + 8, address.begin() + 24);
  };
  EXPECT_NE(gid_of((*next)->address()), gid_of(before));
}

// A rail of a device that takes long over some of its calls.
class VerbsSlowDevice : public VerbsTrouble {
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
