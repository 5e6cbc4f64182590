// The proof of the key, attacked: wrong keys, replays, reflections, every single bit changed.
#include "src/core/handshake.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>

namespace railccl::boot {
namespace {

Key key_of(int number) {
  return derive_key("test", std::as_bytes(std::span<const int, 1>(&number, 1)));
}

struct SocketPair {
  SocketPair() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    one.emplace(UniqueFd(ends[0]));
    other.emplace(UniqueFd(ends[1]));
  }
  std::optional<FrameStream> one;
  std::optional<FrameStream> other;
};

constexpr Hello kWho{.purpose = Purpose::kPeer, .from = 3, .to = 5, .ranks = 8};

// Sends what is queued at `from` and reads it at `to`.
void pass(FrameStream& from, FrameStream& to) {
  ASSERT_TRUE(from.flush());
  (void)to.read_some();
}

std::vector<std::byte> take_all(FrameStream& stream, size_t bytes) {
  const std::byte* data = stream.take_raw(bytes);
  return data == nullptr ? std::vector<std::byte>() : std::vector(data, data + bytes);
}

TEST(Handshake, BothSidesOfTheSameKeyAgree) {
  for (const Verdict verdict : {Verdict::kAccepted, Verdict::kYield, Verdict::kWrongPlace}) {
    SocketPair pair;
    ConnectorHandshake connector(key_of(1), kWho);
    AcceptorHandshake acceptor(key_of(1));
    connector.start(*pair.one);
    pass(*pair.one, *pair.other);
    ASSERT_FALSE(*acceptor.step(*pair.other));
    pass(*pair.other, *pair.one);
    ASSERT_FALSE(connector.step(*pair.one)->has_value());
    pass(*pair.one, *pair.other);
    ASSERT_TRUE(*acceptor.step(*pair.other));
    EXPECT_EQ(acceptor.hello().from, 3u);
    EXPECT_EQ(acceptor.hello().to, 5u);
    EXPECT_EQ(acceptor.hello().ranks, 8u);
    acceptor.welcome(*pair.other, verdict);
    pass(*pair.other, *pair.one);
    EXPECT_EQ(**connector.step(*pair.one), verdict);
  }
}

TEST(Handshake, TheAcceptorRefusesAnotherKey) {
  SocketPair pair;
  ConnectorHandshake connector(key_of(1), kWho);
  AcceptorHandshake acceptor(key_of(2));
  connector.start(*pair.one);
  pass(*pair.one, *pair.other);
  ASSERT_FALSE(*acceptor.step(*pair.other));
  pass(*pair.other, *pair.one);
  ASSERT_TRUE(connector.step(*pair.one));
  pass(*pair.one, *pair.other);
  EXPECT_FALSE(acceptor.step(*pair.other));
}

// An impostor that plays the acceptor without the key can only guess the last MAC.
TEST(Handshake, TheConnectorRefusesAnImpostor) {
  SocketPair pair;
  ConnectorHandshake connector(key_of(1), kWho);
  connector.start(*pair.one);
  pass(*pair.one, *pair.other);
  const Challenge challenge;
  const Welcome guess;
  pair.other->queue_raw(std::as_bytes(std::span<const Challenge, 1>(&challenge, 1)));
  pair.other->queue_raw(std::as_bytes(std::span<const Welcome, 1>(&guess, 1)));
  pass(*pair.other, *pair.one);
  EXPECT_FALSE(connector.step(*pair.one));
}

// The bytes of a connector in a handshake with a right acceptor.
struct Recorded {
  std::vector<std::byte> hello;
  std::vector<std::byte> proof;
};
Recorded record() {
  SocketPair pair;
  ConnectorHandshake connector(key_of(1), kWho);
  AcceptorHandshake acceptor(key_of(1));
  connector.start(*pair.one);
  pass(*pair.one, *pair.other);
  Recorded recorded{.hello = take_all(*pair.other, sizeof(Hello)), .proof = {}};
  pair.one->queue_raw(recorded.hello);
  pass(*pair.one, *pair.other);
  EXPECT_TRUE(acceptor.step(*pair.other));
  pass(*pair.other, *pair.one);
  EXPECT_TRUE(connector.step(*pair.one));
  pass(*pair.one, *pair.other);
  recorded.proof = take_all(*pair.other, sizeof(Proof));
  EXPECT_EQ(recorded.proof.size(), sizeof(Proof));
  return recorded;
}

TEST(Handshake, AReplayedConnectionIsRefused) {
  const Recorded recorded = record();
  SocketPair pair;
  AcceptorHandshake acceptor(key_of(1));
  pair.one->queue_raw(recorded.hello);
  pass(*pair.one, *pair.other);
  ASSERT_TRUE(acceptor.step(*pair.other));
  pair.one->queue_raw(recorded.proof);
  pass(*pair.one, *pair.other);
  EXPECT_FALSE(acceptor.step(*pair.other));
}

// A man in the middle who changes any bit of what goes to the acceptor gets nowhere; nothing that
// the hello says can be changed without the key.
TEST(Handshake, EveryBitOfTheHelloIsProven) {
  for (size_t bit = 0; bit < sizeof(Hello) * 8; ++bit) {
    SocketPair pair;
    ConnectorHandshake connector(key_of(1), kWho);
    AcceptorHandshake acceptor(key_of(1));
    connector.start(*pair.one);
    pass(*pair.one, *pair.other);
    std::vector<std::byte> hello = take_all(*pair.other, sizeof(Hello));
    hello[bit / 8] ^= std::byte{1} << (bit % 8);
    pair.one->queue_raw(hello);
    pass(*pair.one, *pair.other);
    if (!acceptor.step(*pair.other)) continue;  // magic or version
    pass(*pair.other, *pair.one);
    ASSERT_TRUE(connector.step(*pair.one));
    pass(*pair.one, *pair.other);
    EXPECT_FALSE(acceptor.step(*pair.other)) << "bit " << bit;
  }
}

TEST(Handshake, EveryBitOfTheWelcomeIsProven) {
  for (size_t bit = 0; bit < sizeof(Welcome) * 8; ++bit) {
    SocketPair pair;
    ConnectorHandshake connector(key_of(1), kWho);
    AcceptorHandshake acceptor(key_of(1));
    connector.start(*pair.one);
    pass(*pair.one, *pair.other);
    ASSERT_TRUE(acceptor.step(*pair.other));
    pass(*pair.other, *pair.one);
    ASSERT_TRUE(connector.step(*pair.one));
    pass(*pair.one, *pair.other);
    ASSERT_TRUE(*acceptor.step(*pair.other));
    acceptor.welcome(*pair.other, Verdict::kAccepted);
    pass(*pair.other, *pair.one);
    std::vector<std::byte> welcome = take_all(*pair.one, sizeof(Welcome));
    welcome[bit / 8] ^= std::byte{1} << (bit % 8);
    pair.other->queue_raw(welcome);
    pass(*pair.other, *pair.one);
    EXPECT_FALSE(connector.step(*pair.one)) << "bit " << bit;
  }
}

// Its own proof sent back is not the acceptor's.
TEST(Handshake, AReflectedProofIsRefused) {
  SocketPair pair;
  ConnectorHandshake connector(key_of(1), kWho);
  connector.start(*pair.one);
  pass(*pair.one, *pair.other);
  const Challenge challenge;
  pair.other->queue_raw(std::as_bytes(std::span<const Challenge, 1>(&challenge, 1)));
  pass(*pair.other, *pair.one);
  ASSERT_TRUE(connector.step(*pair.one));
  pass(*pair.one, *pair.other);
  (void)take_all(*pair.other, sizeof(Hello));
  const std::vector<std::byte> proof = take_all(*pair.other, sizeof(Proof));
  Welcome welcome;
  std::memcpy(welcome.mac.data(), proof.data(), proof.size());
  pair.other->queue_raw(std::as_bytes(std::span<const Welcome, 1>(&welcome, 1)));
  pass(*pair.other, *pair.one);
  EXPECT_FALSE(connector.step(*pair.one));
}

TEST(Handshake, AnotherVersionIsNamedOnBothSides) {
  SocketPair pair;
  AcceptorHandshake acceptor(key_of(1));
  Hello hello = kWho;
  hello.version = 99;
  pair.one->queue_raw(std::as_bytes(std::span<const Hello, 1>(&hello, 1)));
  pass(*pair.one, *pair.other);
  const auto refused = acceptor.step(*pair.other);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("version 99"), std::string_view::npos);

  SocketPair second;
  ConnectorHandshake connector(key_of(1), kWho);
  const Challenge challenge{.version = 98};
  second.other->queue_raw(std::as_bytes(std::span<const Challenge, 1>(&challenge, 1)));
  pass(*second.other, *second.one);
  const auto other = connector.step(*second.one);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message().find("version 98"), std::string_view::npos);
}

// --- frames ---

TEST(Framing, FramesComeOutAsTheyWentInHoweverTheBytesArrive) {
  SocketPair pair;
  std::vector<std::byte> all;
  for (size_t length : {size_t{0}, size_t{1}, size_t{5000}, kMaxFrameBytes}) {
    append_frame(all, static_cast<uint16_t>(length % 7),
                 std::vector<std::byte>(length, std::byte(length)));
  }
  std::vector<size_t> lengths;
  for (size_t sent = 0; sent < all.size();) {
    const size_t piece = std::min<size_t>(sent < 100 ? 1 : 3001, all.size() - sent);
    pair.one->queue_raw({all.data() + sent, piece});
    sent += piece;
    pass(*pair.one, *pair.other);
    for (;;) {
      const auto frame = pair.other->next_frame();
      ASSERT_TRUE(frame);
      if (!*frame) break;
      const size_t length = (*frame)->payload.size();
      EXPECT_EQ((*frame)->type, length % 7);
      for (const std::byte byte : (*frame)->payload) ASSERT_EQ(byte, std::byte(length));
      lengths.push_back(length);
    }
  }
  EXPECT_EQ(lengths, (std::vector<size_t>{0, 1, 5000, kMaxFrameBytes}));
}

TEST(Framing, AFrameThatIsTooLongIsRefusedAtItsHeader) {
  for (const uint32_t length : {uint32_t{kMaxFrameBytes + 1}, uint32_t{0xffffffff}}) {
    SocketPair pair;
    std::array<uint32_t, 2> header = {length, 1};
    pair.one->queue_raw(std::as_bytes(std::span(header)));
    pass(*pair.one, *pair.other);
    EXPECT_FALSE(pair.other->next_frame());
  }
}

}  // namespace
}  // namespace railccl::boot
