// What verbs rails make of a machine that is not as it should be, and of one that changes: over a
// libibverbs of the test's own.
#include <gmock/gmock.h>
#include <poll.h>

#include "tests/transport/over_fake_verbs.h"

namespace railccl::testing_support {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = RailEvent::Kind;

class VerbsTrouble : public OverFakeVerbs {};

// A rail with an endpoint, whose owner sleeps.
class VerbsSleep : public OverFakeVerbs {
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

}  // namespace
}  // namespace railccl::testing_support
