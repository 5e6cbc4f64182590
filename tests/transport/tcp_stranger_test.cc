// Who does not know an endpoint's secret gets nothing, costs nothing, and is gone in bounded time.
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <random>

#include "tests/transport/tcp_raw_peer.h"

namespace railccl::testing_support {
namespace {

using Kind = RailEvent::Kind;
using tcp::LaneId;
using testing::ElementsAre;
using testing::HasSubstr;

class TcpStranger : public testing::Test {
 protected:
  // The endpoint goes on to connect with its real peer, whatever strangers did before.
  void expect_still_connects() {
    RawPeer peer(under_test_);
    peer.connect();
    EXPECT_EQ(sink().count(Kind::kFailed), 0U);
  }
  RecordingSink& sink() { return under_test_.sink(); }
  tcp::AddressBlob target() { return read_blob(under_test_.endpoint().address()); }

  std::vector<std::string> warnings_;
  RailUnderTest under_test_{[this] {
    TcpRailOptions options = test_options(&warnings_);
    options.max_strangers = 8;
    return options;
  }()};
};

TEST_F(TcpStranger, GarbageIsDroppedAndReportedOnce) {
  std::mt19937_64 random(1);
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 5; ++i) {
    strangers.push_back(dial_raw(target()));
    std::vector<uint64_t> garbage(64);
    for (uint64_t& word : garbage) word = random();
    send_all(strangers.back().get(), garbage.data(), garbage.size() * sizeof(uint64_t));
  }
  ASSERT_TRUE(under_test_.progress_until([&] {
    return std::ranges::all_of(strangers, [](auto& fd) { return is_closed_by_peer(fd.get()); });
  }));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("no rail's greeting")));
  expect_still_connects();
}

TEST_F(TcpStranger, SilentAndSlowOnesAreDroppedInTime) {
  const UniqueFd silent = dial_raw(target());
  const UniqueFd slow = dial_raw(target());
  const tcp::Hello hello{.acceptor_id = target().endpoint_id, .dialer_id = 1};
  for (size_t i = 0; i + 1 < sizeof hello; ++i) {
    send_all(slow.get(), reinterpret_cast<const char*>(&hello) + i, 1);
    under_test_.progress();
  }
  under_test_.settle(10);
  EXPECT_FALSE(is_closed_by_peer(silent.get()));
  EXPECT_FALSE(is_closed_by_peer(slow.get()));
  under_test_.advance(kSecond);  // the stranger timeout of test_options
  ASSERT_TRUE(under_test_.progress_until(
      [&] { return is_closed_by_peer(silent.get()) && is_closed_by_peer(slow.get()); }));
  EXPECT_EQ(warnings_.size(), 1U);
  expect_still_connects();
}

TEST_F(TcpStranger, TooManyPushOutTheOldest) {
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 20; ++i) strangers.push_back(dial_raw(target()));
  under_test_.settle(10);
  size_t dropped = 0;
  for (UniqueFd& fd : strangers) dropped += is_closed_by_peer(fd.get()) ? 1 : 0;
  EXPECT_EQ(dropped, 12U) << "at most max_strangers stay";
  EXPECT_FALSE(is_closed_by_peer(strangers.back().get()));
  expect_still_connects();
}

TEST_F(TcpStranger, UnknownEndpointIsToldNothing) {
  UniqueFd fd = dial_raw(target());
  send_struct(fd.get(),
              tcp::Hello{.acceptor_id = target().endpoint_id ^ 1, .dialer_id = RawPeer::kId});
  ASSERT_TRUE(under_test_.progress_until([&] { return is_closed_by_peer(fd.get()); }));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("names no endpoint")));
}

TEST_F(TcpStranger, WrongProofIsDroppedAndTheRealPeerStillComes) {
  RawPeer peer(under_test_);
  ASSERT_TRUE(under_test_.endpoint().connect(peer.address()));
  UniqueFd fd = dial_raw(target());
  const tcp::Hello hello{.acceptor_id = target().endpoint_id, .dialer_id = RawPeer::kId};
  send_struct(fd.get(), hello);
  tcp::Challenge challenge;
  size_t have = 0;
  ASSERT_TRUE(under_test_.progress_until([&] {
    have += read_available(fd.get(), reinterpret_cast<char*>(&challenge) + have,
                           sizeof challenge - have);
    return have == sizeof challenge;
  }));
  // The right answer by another's key, with a put behind it that must not be believed.
  const tcp::SessionKey wrong =
      tcp::session_key({.endpoint_id = RawPeer::kId}, {.endpoint_id = target().endpoint_id});
  send_struct(fd.get(), tcp::Proof{.mac = tcp::dialer_mac(wrong, hello, challenge.nonce)});
  send_struct(fd.get(), tcp::PutHeader{.flags = tcp::kNotifyFlag});
  ASSERT_TRUE(under_test_.progress_until([&] { return is_closed_by_peer(fd.get()); }));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("does not know the endpoints' secrets")));
  ASSERT_TRUE(peer.open_lane(LaneId::kSmall));
  ASSERT_TRUE(peer.open_lane(LaneId::kBulk));
  ASSERT_TRUE(under_test_.progress_until([&] { return sink().count(Kind::kConnected) == 1; }));
  EXPECT_EQ(sink().count(Kind::kNotification), 0U);
}

TEST_F(TcpStranger, AnOldProofCannotBeReplayed) {
  RawPeer peer(under_test_);
  ASSERT_TRUE(under_test_.endpoint().connect(peer.address()));
  const tcp::Hello hello{.acceptor_id = target().endpoint_id, .dialer_id = RawPeer::kId};
  const tcp::SessionKey key =
      tcp::session_key({.endpoint_id = RawPeer::kId, .secret = peer.secret},
                       {.endpoint_id = target().endpoint_id, .secret = target().secret});
  std::array<tcp::Challenge, 2> challenges;
  std::array<UniqueFd, 2> fds;
  for (size_t i = 0; i < 2; ++i) {
    fds[i] = dial_raw(target());
    send_struct(fds[i].get(), hello);
    size_t have = 0;
    ASSERT_TRUE(under_test_.progress_until([&] {
      have += read_available(fds[i].get(), reinterpret_cast<char*>(&challenges[i]) + have,
                             sizeof(tcp::Challenge) - have);
      return have == sizeof(tcp::Challenge);
    }));
  }
  EXPECT_NE(challenges[0].nonce, challenges[1].nonce);
  // The proof for the first connection, on the second.
  send_struct(fds[1].get(), tcp::Proof{.mac = tcp::dialer_mac(key, hello, challenges[0].nonce)});
  ASSERT_TRUE(under_test_.progress_until([&] { return is_closed_by_peer(fds[1].get()); }));
}

TEST_F(TcpStranger, TruncatedHandshakesLeaveNothingBehind) {
  RawPeer peer(under_test_);
  ASSERT_TRUE(under_test_.endpoint().connect(peer.address()));
  const tcp::Hello hello{.acceptor_id = target().endpoint_id, .dialer_id = RawPeer::kId};
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{23}, sizeof hello - 1, sizeof hello}) {
    UniqueFd fd = dial_raw(target());
    send_all(fd.get(), &hello, bytes);
    under_test_.progress();
    shutdown(fd.get(), SHUT_WR);
    ASSERT_TRUE(under_test_.progress_until([&] { return is_closed_by_peer(fd.get()); })) << bytes;
  }
  ASSERT_TRUE(peer.open_lane(LaneId::kSmall));
  ASSERT_TRUE(peer.open_lane(LaneId::kBulk));
  ASSERT_TRUE(under_test_.progress_until([&] { return sink().count(Kind::kConnected) == 1; }));
}

TEST_F(TcpStranger, AHeldConnectionGoesOnWhenItsEndpointConnects) {
  RawPeer peer(under_test_);
  UniqueFd fd = dial_raw(target());
  send_struct(fd.get(), tcp::Hello{.acceptor_id = target().endpoint_id, .dialer_id = RawPeer::kId});
  under_test_.settle(5);
  char byte = 0;
  EXPECT_EQ(read_available(fd.get(), &byte, 1), 0U) << "the challenge came before connect()";
  EXPECT_FALSE(is_closed_by_peer(fd.get()));
  ASSERT_TRUE(under_test_.endpoint().connect(peer.address()));
  ASSERT_TRUE(under_test_.progress_until([&] { return read_available(fd.get(), &byte, 1) == 1; }));
}

TEST_F(TcpStranger, EstablishedEndpointsAreNotDisturbed) {
  RawPeer peer(under_test_);
  peer.connect();
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 50; ++i) {
    strangers.push_back(dial_raw(target()));
    send_all(strangers.back().get(), "GET / HTTP/1.0\r\n\r\n", 18);
  }
  send_struct(peer.fd(LaneId::kSmall), tcp::PutHeader{.flags = tcp::kNotifyFlag});
  ASSERT_TRUE(under_test_.progress_until([&] { return sink().count(Kind::kNotification) == 1; }));
  under_test_.settle();
  EXPECT_EQ(sink().count(Kind::kFailed), 0U);
}

// The one who answers a dialer must prove itself too: an address may be stale, or taken.
TEST(TcpImpostor, AnAcceptorWithoutTheSecretIsNotBelieved) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_storage storage;
  auto address = net::SocketAddress::parse("127.0.0.1");
  ASSERT_TRUE(address);
  socklen_t size = address->to_sockaddr(storage);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
  ASSERT_EQ(listen(listener.get(), 8), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &size), 0);
  TcpRailOptions options = test_options();
  options.connect_timeout_ns = 300 * kMillisecond;
  RailUnderTest under_test(options);
  tcp::AddressBlob blob = read_blob(under_test.endpoint().address());
  blob.endpoint_id = ~uint64_t{0};  // the rail under test dials
  blob.port = net::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage))->port();
  ASSERT_TRUE(under_test.endpoint().connect(to_bytes(blob)));
  std::vector<UniqueFd> accepted;
  ASSERT_TRUE(under_test.progress_until([&] {
    UniqueFd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      send_struct(fd.get(), tcp::Challenge{});
      accepted.push_back(std::move(fd));
    }
    return under_test.sink().count(Kind::kFailed) == 1 || accepted.size() > 100;
  }));
  const RailEvent* failed = under_test.sink().find(Kind::kFailed, kTag);
  ASSERT_NE(failed, nullptr);
  EXPECT_THAT(std::string(failed->status.message()),
              HasSubstr("does not know the endpoints' secrets"));
  EXPECT_GE(accepted.size(), 2U);
}

}  // namespace
}  // namespace railccl::testing_support
