// TCP rails between two network namespaces: port events, rails in one subnet, a cable that is cut.
// Needs root; skipped with the reason without.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "src/base/unique_fd.h"
#include "tests/transport/tcp_pair.h"
#include "transport/tcp/wire.h"

namespace railccl::testing_support {
namespace {

using Kind = RailEvent::Kind;
using testing::HasSubstr;

// Puts the calling thread into a namespace for its lifetime.
class InNamespace {
 public:
  explicit InNamespace(int fd) : before_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    EXPECT_EQ(setns(fd, CLONE_NEWNET), 0);
  }
  ~InNamespace() { EXPECT_EQ(setns(before_.get(), CLONE_NEWNET), 0); }
  InNamespace(const InNamespace&) = delete;

 private:
  UniqueFd before_;
};

// Two nodes with `rails` cables between them: r0, r1, ... on both sides, side s of rail k has the
// address 10.77.<subnet of k>.<1 + 10 s + k>.
class TwoNodes {
 public:
  TwoNodes(int rails, bool one_subnet) {
    for (int side = 0; side < 2; ++side) {
      names_[side] = fmt::format("railccl-test-{}-{}", getpid(), side);
      ok_ = ok_ && run(fmt::format("ip netns add {}", names_[side]));
      if (!ok_) return;
      fds_[side].reset(open(("/run/netns/" + names_[side]).c_str(), O_RDONLY | O_CLOEXEC));
      ok_ = ok_ && run(fmt::format("ip -n {} link set lo up", names_[side]));
    }
    for (int k = 0; k < rails; ++k) {
      ok_ = ok_ && run(fmt::format("ip -n {} link add r{} type veth peer name r{} netns {}",
                                   names_[0], k, k, names_[1]));
      for (int side = 0; side < 2; ++side) {
        const std::string ip = address(side, k, one_subnet);
        ok_ = ok_ && run(fmt::format("ip -n {} addr add {}/24 dev r{}", names_[side], ip, k));
        ok_ = ok_ && run(fmt::format("ip -n {} link set r{} up", names_[side], k));
      }
    }
  }
  ~TwoNodes() {
    for (const std::string& name : names_) run(fmt::format("ip netns del {}", name));
  }
  TwoNodes(const TwoNodes&) = delete;

  bool ok() const { return ok_; }
  int fd(int side) const { return fds_[side].get(); }
  bool ip(int side, const std::string& arguments) {
    return run(fmt::format("ip -n {} {}", names_[side], arguments));
  }
  static std::string address(int side, int rail, bool one_subnet) {
    return fmt::format("10.77.{}.{}", one_subnet ? 0 : rail, 1 + 10 * side + rail);
  }
  // Bytes that the interface has received.
  uint64_t received(int side, const std::string& interface) const {
    const InNamespace inside(fd(side));
    std::ifstream table("/proc/thread-self/net/dev");
    for (std::string line; std::getline(table, line);) {
      const size_t colon = line.find(':');
      if (colon == std::string::npos || line.find(interface) >= colon) continue;
      uint64_t bytes = 0;
      std::istringstream(line.substr(colon + 1)) >> bytes;
      return bytes;
    }
    return 0;
  }

 private:
  static bool run(const std::string& command) {
    return std::system((command + " 2>/dev/null").c_str()) == 0;
  }

  std::array<std::string, 2> names_;
  std::array<UniqueFd, 2> fds_;
  bool ok_ = true;
};

class TcpNetns : public testing::Test {
 protected:
  void start(int rails, bool one_subnet) {
    open_rails(rails, one_subnet);
    if (!IsSkipped() && !HasFatalFailure()) connect_all();
  }
  void open_rails(int rails, bool one_subnet) {
    if (geteuid() != 0) GTEST_SKIP() << "network namespaces need root";
    nodes_ = std::make_unique<TwoNodes>(rails, one_subnet);
    if (!nodes_->ok()) GTEST_SKIP() << "this machine lets no network namespaces with veth be made";
    for (int side = 0; side < 2; ++side) {
      const InNamespace inside(nodes_->fd(side));
      const auto found = discover_tcp_rails({.interface_spec = "r"});
      ASSERT_TRUE(found) << found.error().message();
      ASSERT_EQ(found->rails.size(), static_cast<size_t>(rails));
      discovery_warnings_ = found->warnings;
      for (const TcpRailConfig& config : found->rails) {
        rails_[side].push_back(open_or_fail(config, test_options(&warnings_)));
      }
    }
  }
  void connect_all() {
    dial();
    ASSERT_TRUE(until([&] { return connected(); }));
  }
  void dial() {
    for (size_t k = 0; k < rails_[0].size(); ++k) {
      // Side 0 dials: its endpoint id is the smaller one.
      std::array<std::unique_ptr<Endpoint>, 2> opened;
      do {
        for (size_t side = 0; side < 2; ++side) opened[side] = *rails_[side][k]->open_endpoint(k);
      } while (endpoint_id(*opened[0]) > endpoint_id(*opened[1]));
      for (size_t side = 0; side < 2; ++side) endpoints_[side].push_back(std::move(opened[side]));
      for (int side = 0; side < 2; ++side) {
        ASSERT_TRUE(endpoints_[side][k]->connect(endpoints_[1 - side][k]->address()));
      }
    }
  }
  bool connected() const {
    return sinks_[0].count(Kind::kConnected) == rails_[0].size() &&
           sinks_[1].count(Kind::kConnected) == rails_[0].size();
  }
  static uint64_t endpoint_id(const Endpoint& endpoint) {
    tcp::AddressBlob blob;
    std::memcpy(&blob, endpoint.address().data(), sizeof blob);
    return blob.endpoint_id;
  }
  // New sockets are made in the namespace of the thread: each side progresses in its own.
  bool until(const std::function<bool()>& done) {
    const TimeNs deadline = system_clock().now_ns() + 60 * kSecond;
    while (!done()) {
      if (system_clock().now_ns() > deadline) return false;
      if (!progress()) wait_for_rails({rails_[0][0].get(), rails_[1][0].get()}, 2);
    }
    return true;
  }
  bool progress() {
    bool did = false;
    for (int side = 0; side < 2; ++side) {
      const InNamespace inside(nodes_->fd(side));
      for (auto& rail : rails_[side]) {
        did = sinks_[side].progress(*rail, system_clock().now_ns() + ahead_) || did;
      }
    }
    return did;
  }
  // As if an attempt to dial had taken too long: the next one is begun.
  void let_attempt_expire() {
    ahead_ += test_options().attempt_timeout_ns;
    progress();
    ahead_ += 100 * kMillisecond;  // the pause between attempts
    progress();
  }
  const RailEvent* port_event(Kind kind) { return sinks_[0].find(kind, 0); }

  std::unique_ptr<TwoNodes> nodes_;
  std::vector<std::string> warnings_;
  std::vector<std::string> discovery_warnings_;
  TimeNs ahead_ = 0;  // of the clock
  std::array<std::vector<std::unique_ptr<Rail>>, 2> rails_;
  std::array<RecordingSink, 2> sinks_;
  std::array<std::vector<std::unique_ptr<Endpoint>>, 2> endpoints_;
};

TEST_F(TcpNetns, APortThatGoesDownAndUpIsReported) {
  start(1, false);
  if (IsSkipped() || HasFatalFailure()) return;
  ASSERT_TRUE(nodes_->ip(0, "link set r0 down"));
  ASSERT_TRUE(until([&] { return sinks_[0].count(Kind::kRailDown) == 1; }));
  EXPECT_THAT(std::string(port_event(Kind::kRailDown)->status.message()),
              HasSubstr("r0 was taken down"));
  ASSERT_TRUE(until([&] { return sinks_[1].count(Kind::kRailDown) == 1; }))
      << "the other end of the cable has no carrier";
  EXPECT_THAT(std::string(sinks_[1].find(Kind::kRailDown, 0)->status.message()),
              HasSubstr("no carrier"));
  ASSERT_TRUE(nodes_->ip(0, "link set r0 up"));
  ASSERT_TRUE(until(
      [&] { return sinks_[0].count(Kind::kRailUp) == 1 && sinks_[1].count(Kind::kRailUp) == 1; }));
  EXPECT_TRUE(port_event(Kind::kRailUp)->status);
}

TEST_F(TcpNetns, ALostAddressIsReported) {
  start(1, false);
  if (IsSkipped() || HasFatalFailure()) return;
  ASSERT_TRUE(nodes_->ip(0, "addr del 10.77.0.1/24 dev r0"));
  ASSERT_TRUE(until([&] { return sinks_[0].count(Kind::kRailDown) == 1; }));
  EXPECT_THAT(std::string(port_event(Kind::kRailDown)->status.message()), HasSubstr("10.77.0.1"));
  ASSERT_TRUE(nodes_->ip(0, "addr add 10.77.0.1/24 dev r0"));
  ASSERT_TRUE(until([&] { return sinks_[0].count(Kind::kRailUp) == 1; }));
}

TEST_F(TcpNetns, ADestroyedInterfaceIsReported) {
  start(1, false);
  if (IsSkipped() || HasFatalFailure()) return;
  ASSERT_TRUE(nodes_->ip(0, "link del r0"));
  ASSERT_TRUE(until([&] { return sinks_[0].count(Kind::kRailDown) == 1; }));
  EXPECT_THAT(std::string(port_event(Kind::kRailDown)->status.message()), HasSubstr("gone"));
}

TEST_F(TcpNetns, OtherInterfacesAreNoConcern) {
  start(2, false);
  if (IsSkipped() || HasFatalFailure()) return;
  ASSERT_TRUE(nodes_->ip(0, "link set r1 down"));
  ASSERT_TRUE(until([&] { return sinks_[0].count(Kind::kRailDown) >= 1; }));
  EXPECT_THAT(std::string(port_event(Kind::kRailDown)->status.message()), HasSubstr("rail r1"));
  EXPECT_EQ(sinks_[0].count(Kind::kRailDown), 1U);
}

TEST_F(TcpNetns, RailsInOneSubnetKeepToTheirCables) {
  start(2, true);
  if (IsSkipped() || HasFatalFailure()) return;
  EXPECT_THAT(discovery_warnings_, testing::ElementsAre(HasSubstr("one subnet")));
  constexpr size_t kBytes = size_t{4} << 20;
  for (size_t k = 0; k < 2; ++k) {
    TestBuffer source = make_buffer(*rails_[0][k], kBytes, 7);
    TestBuffer target = make_buffer(*rails_[1][k], kBytes, 0);
    const uint64_t own_before = nodes_->received(1, fmt::format("r{}", k));
    const uint64_t other_before = nodes_->received(1, fmt::format("r{}", 1 - k));
    ASSERT_TRUE(endpoints_[0][k]->put({.source = source.registration.get(),
                                       .bytes = kBytes,
                                       .remote_key = target.registration->key()}));
    ASSERT_TRUE(until([&] { return sinks_[0].count(Kind::kPutDone, k) == 1; }));
    EXPECT_TRUE(all_equal(target.bytes, 7));
    EXPECT_GE(nodes_->received(1, fmt::format("r{}", k)) - own_before, kBytes);
    EXPECT_LT(nodes_->received(1, fmt::format("r{}", 1 - k)) - other_before, kBytes / 10);
  }
  EXPECT_THAT(warnings_, testing::IsEmpty());
}

// Silent in the way that a port is which has just come up: no answer to ARP, the carrier is there.
// On the other cable node 1 would answer for both of its addresses.
class TcpSilentStart : public TcpNetns {
 protected:
  void dial_into_silence() {
    open_rails(2, true);
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_TRUE(nodes_->ip(1, "link set r1 arp off"));
    dial();
    ASSERT_TRUE(until([&] { return sinks_[0].count(Kind::kConnected) == 1; }));
  }
};

TEST_F(TcpSilentStart, ALateFirstAnswerDoesNotDriveARailToAnotherCable) {
  dial_into_silence();
  if (IsSkipped() || HasFatalFailure()) return;
  let_attempt_expire();
  ASSERT_TRUE(nodes_->ip(1, "link set r1 arp on"));
  ASSERT_TRUE(until([&] { return connected(); }));
  // The attempt that was given up may be told of as a stranger.
  EXPECT_THAT(warnings_, testing::Not(testing::Contains(HasSubstr("came in by another way"))));
}

TEST_F(TcpSilentStart, AnotherWayWillDoInTheEnd) {
  dial_into_silence();
  if (IsSkipped() || HasFatalFailure()) return;
  for (int attempt = 0; attempt < 3; ++attempt) let_attempt_expire();
  ASSERT_TRUE(until([&] { return connected(); }));
  EXPECT_THAT(warnings_, testing::Contains(HasSubstr("came in by another way")));
}

// One network instead of two: each NIC answers ARP for both addresses, and packets come in by
// whichever was asked last. Slower, reported, but connected.
TEST_F(TcpNetns, RailsOnOneNetworkConnectAllTheSame) {
  if (geteuid() != 0) GTEST_SKIP() << "network namespaces need root";
  nodes_ = std::make_unique<TwoNodes>(2, true);
  if (!nodes_->ok()) GTEST_SKIP() << "this machine lets no network namespaces with veth be made";
  // Node 1 answers for both addresses on its r0 alone.
  ASSERT_TRUE(nodes_->ip(1, "link set r1 down"));
  ASSERT_TRUE(nodes_->ip(0, "link set r1 down"));
  ASSERT_TRUE(nodes_->ip(1, "addr add 10.77.0.12/24 dev r0"));
  for (int side = 0; side < 2; ++side) {
    const InNamespace inside(nodes_->fd(side));
    const auto found = discover_tcp_rails({.interface_spec = side == 0 ? "r0" : "r0@10.77.0.12"});
    ASSERT_TRUE(found) << found.error().message();
    TcpRailConfig config = found->rails[0];
    if (side == 1) config.interface_name = "r1";  // where it does not come in
    rails_[side].push_back(open_or_fail(config, test_options(&warnings_)));
  }
  connect_all();
  EXPECT_THAT(warnings_, testing::Contains(HasSubstr("came in by another way")));
}

// Ranks of one host that use the same port reach each other through the kernel's loopback.
TEST_F(TcpNetns, TwoRanksOfOneHostConnectOverTheSamePort) {
  if (geteuid() != 0) GTEST_SKIP() << "network namespaces need root";
  nodes_ = std::make_unique<TwoNodes>(1, false);
  if (!nodes_->ok()) GTEST_SKIP() << "this machine lets no network namespaces with veth be made";
  const InNamespace inside(nodes_->fd(0));
  const auto found = discover_tcp_rails({.interface_spec = "r0"});
  ASSERT_TRUE(found) << found.error().message();
  for (auto& side : rails_) side.push_back(open_or_fail(found->rails[0], test_options(&warnings_)));
  std::array<std::unique_ptr<Endpoint>, 2> ends{*rails_[0][0]->open_endpoint(0),
                                                *rails_[1][0]->open_endpoint(0)};
  ASSERT_TRUE(ends[0]->connect(ends[1]->address()));
  ASSERT_TRUE(ends[1]->connect(ends[0]->address()));
  const TimeNs deadline = system_clock().now_ns() + 30 * kSecond;
  while (sinks_[0].events().empty() || sinks_[1].events().empty()) {
    ASSERT_LT(system_clock().now_ns(), deadline);
    for (size_t side = 0; side < 2; ++side) {
      sinks_[side].progress(*rails_[side][0], system_clock().now_ns());
    }
    wait_for_rails({rails_[0][0].get(), rails_[1][0].get()}, 2);
  }
  EXPECT_EQ(sinks_[0].count(Kind::kConnected), 1U);
  EXPECT_EQ(sinks_[1].count(Kind::kConnected), 1U);
  EXPECT_THAT(warnings_, testing::IsEmpty());
}

TEST_F(TcpNetns, ASilentCableEndsTheEndpointInTime) {
  start(1, false);
  if (IsSkipped() || HasFatalFailure()) return;
  // Nothing passes, and neither port goes down: as behind a switch that died.
  ASSERT_TRUE(nodes_->ip(1, "addr del 10.77.0.11/24 dev r0"));
  ASSERT_TRUE(nodes_->ip(1, "link set r0 arp off"));
  ASSERT_TRUE(endpoints_[0][0]->put({.token = 1}));
  endpoints_[0][0]->close();
  ASSERT_TRUE(until([&] { return sinks_[0].count(Kind::kClosed) == 1; }));
  EXPECT_EQ(sinks_[0].completions(0, 1), 1U);
}

}  // namespace
}  // namespace railccl::testing_support
