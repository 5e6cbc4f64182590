// What a peer that proved itself may still get wrong: bytes that are no frames, puts outside what
// was registered, false acknowledgements, ends in the middle. It never touches memory that it must
// not, and the endpoint ends with an error.
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <cstring>
#include <random>

#include "tests/transport/tcp_raw_peer.h"

namespace railccl::testing_support {
namespace {

using Kind = RailEvent::Kind;
using tcp::LaneId;
using tcp::PutHeader;
using testing::HasSubstr;

constexpr size_t kBytes = 100'000;

class TcpFrames : public testing::Test {
 protected:
  void SetUp() override { peer_.connect(); }

  RecordingSink& sink() { return under_test_.sink(); }
  int fd(LaneId lane) const { return peer_.fd(lane); }
  void expect_failed(const std::string& why) {
    ASSERT_TRUE(under_test_.progress_until([&] { return sink().count(Kind::kFailed) == 1; }));
    EXPECT_THAT(std::string(sink().find(Kind::kFailed, kTag)->status.message()), HasSubstr(why));
    EXPECT_TRUE(is_closed_by_peer(fd(LaneId::kSmall)));
    EXPECT_TRUE(is_closed_by_peer(fd(LaneId::kBulk)));
  }
  PutHeader put_of(uint64_t bytes, uint64_t offset = 0) {
    return {.flags = tcp::kNotifyFlag,
            .bytes = bytes,
            .key = target_.registration->key(),
            .offset = offset};
  }

  RailUnderTest under_test_{test_options()};
  RawPeer peer_{under_test_};
  TestBuffer target_ = make_buffer(under_test_.rail(), kBytes, 0);
};

TEST_F(TcpFrames, RightPutsArrive) {
  std::vector<std::byte> data(kBytes);
  fill_pattern(data, 3);
  for (const LaneId lane : {LaneId::kSmall, LaneId::kBulk}) {
    std::ranges::fill(target_.bytes, std::byte{0});
    send_struct(fd(lane), put_of(kBytes));
    send_all(fd(lane), data.data(), data.size());
    const size_t before = sink().count(Kind::kNotification);
    ASSERT_TRUE(under_test_.progress_until(
        [&] { return sink().count(Kind::kNotification) == before + 1; }));
    EXPECT_TRUE(has_pattern(target_.bytes, 3));
  }
}

template <typename T>
void append(std::vector<std::byte>& stream, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  stream.insert(stream.end(), bytes, bytes + sizeof value);
}

TEST_F(TcpFrames, FramesMayBeCutAnywhere) {
  std::vector<std::byte> data(150);
  fill_pattern(data, 4);
  for (const LaneId lane : {LaneId::kSmall, LaneId::kBulk}) {
    std::ranges::fill(target_.bytes, std::byte{0});
    std::vector<std::byte> stream;
    append(stream, put_of(100));
    stream.insert(stream.end(), data.begin(), data.begin() + 100);
    append(stream, put_of(0));
    if (lane == LaneId::kSmall) append(stream, tcp::AckFrame{});
    append(stream, put_of(50, 100));
    stream.insert(stream.end(), data.begin() + 100, data.end());
    const size_t before = sink().count(Kind::kNotification);
    for (const std::byte& byte : stream) {
      send_struct(fd(lane), byte);
      under_test_.progress();
    }
    ASSERT_TRUE(under_test_.progress_until(
        [&] { return sink().count(Kind::kNotification) == before + 3; }));
    EXPECT_TRUE(has_pattern(std::span(target_.bytes).first(150), 4));
    EXPECT_TRUE(all_equal(std::span(target_.bytes).subspan(150), 0));
  }
}

TEST_F(TcpFrames, BytesThatAreNoFrameEndIt) {
  const uint64_t garbage = 0x1122334455667788;
  send_struct(fd(LaneId::kBulk), garbage);
  expect_failed("begin no frame");
}

TEST_F(TcpFrames, UnknownFlagsEndIt) {
  PutHeader header = put_of(10);
  header.flags = 2;
  send_struct(fd(LaneId::kSmall), header);
  expect_failed("damaged");
}

TEST_F(TcpFrames, AcknowledgementsBelongOnTheSmallSocket) {
  send_struct(fd(LaneId::kBulk), tcp::AckFrame{});
  expect_failed("begin no frame");
}

TEST_F(TcpFrames, AcknowledgingMoreThanWasSentEndsIt) {
  ASSERT_TRUE(under_test_.endpoint().put({.token = 5}));
  send_struct(fd(LaneId::kSmall), tcp::AckFrame{.placed = {2, 0}});
  expect_failed("not sent");
  EXPECT_EQ(sink().completions(kTag, 5), 1U);
  EXPECT_FALSE(sink().find(Kind::kPutDone, kTag)->status);
}

TEST_F(TcpFrames, AcknowledgementsThatGoBackEndIt) {
  ASSERT_TRUE(under_test_.endpoint().put({.token = 5}));
  under_test_.progress();
  send_struct(fd(LaneId::kSmall), tcp::AckFrame{.placed = {1, 0}});
  ASSERT_TRUE(under_test_.progress_until([&] { return sink().count(Kind::kPutDone) == 1; }));
  EXPECT_TRUE(sink().find(Kind::kPutDone, kTag)->status);
  send_struct(fd(LaneId::kSmall), tcp::AckFrame{.placed = {0, 0}});
  expect_failed("not sent");
}

TEST_F(TcpFrames, GuessedKeysWriteNothing) {
  PutHeader header = put_of(1000);
  header.key += 1;  // keys are no sequence
  send_struct(fd(LaneId::kSmall), header);
  const std::vector<char> payload(1000, 'x');
  send_all(fd(LaneId::kSmall), payload.data(), payload.size());
  expect_failed("key that is not registered");
  EXPECT_TRUE(all_equal(target_.bytes, 0));
}

TEST_F(TcpFrames, OffsetsThatWrapAroundWriteNothing) {
  send_struct(fd(LaneId::kBulk), put_of(kBytes, ~uint64_t{0} - kBytes + 1));
  expect_failed("outside its registration");
  EXPECT_TRUE(all_equal(target_.bytes, 0));
}

TEST_F(TcpFrames, LengthsThatWrapAroundWriteNothing) {
  send_struct(fd(LaneId::kBulk), put_of(~uint64_t{0}, 1));
  expect_failed("damaged");
  EXPECT_TRUE(all_equal(target_.bytes, 0));
}

TEST_F(TcpFrames, WhatFollowsARefusedPutIsNotBelieved) {
  std::vector<std::byte> stream(2 * sizeof(PutHeader) + 10, std::byte{0x7f});
  const PutHeader bad = put_of(10, kBytes);
  const PutHeader good = put_of(10, 0);
  std::memcpy(stream.data(), &bad, sizeof bad);
  std::memcpy(stream.data() + sizeof bad, &good, sizeof good);
  send_all(fd(LaneId::kSmall), stream.data(), stream.size());
  expect_failed("outside its registration");
  EXPECT_TRUE(all_equal(target_.bytes, 0));
  EXPECT_EQ(sink().count(Kind::kNotification), 0U);
}

TEST_F(TcpFrames, TheReasonOfAnEndIsToldToThePeer) {
  send_struct(fd(LaneId::kBulk), put_of(kBytes, 1));
  tcp::FarewellFrame farewell;
  size_t have = 0;
  ASSERT_TRUE(under_test_.progress_until([&] {
    have += read_available(fd(LaneId::kSmall), reinterpret_cast<char*>(&farewell) + have,
                           sizeof farewell - have);
    return have == sizeof farewell;
  }));
  EXPECT_EQ(farewell.magic, tcp::kFarewellMagic);
  EXPECT_THAT(std::string(farewell.text.data(), farewell.text_bytes),
              HasSubstr("outside its registration"));
}

TEST_F(TcpFrames, APeersReasonIsPassedOnWithoutControlCharacters) {
  tcp::FarewellFrame farewell{.text_bytes = ~0U};
  farewell.text.fill('\x1b');
  std::memcpy(farewell.text.data(), "out of luck", 11);
  send_struct(fd(LaneId::kSmall), farewell);
  expect_failed("the peer ended the connection: out of luck???");
}

TEST_F(TcpFrames, AHalfClosedSocketEndsIt) {
  shutdown(fd(LaneId::kBulk), SHUT_WR);
  expect_failed("closed the connection");
}

TEST_F(TcpFrames, AnEndInTheMiddleOfAPutRaisesNoNotification) {
  const std::vector<char> half(kBytes / 2, 'x');
  send_struct(fd(LaneId::kBulk), put_of(kBytes));
  send_all(fd(LaneId::kBulk), half.data(), half.size());
  peer_.close(LaneId::kBulk);
  ASSERT_TRUE(under_test_.progress_until([&] { return sink().count(Kind::kFailed) == 1; }));
  EXPECT_EQ(sink().count(Kind::kNotification), 0U);
  EXPECT_TRUE(all_equal(std::span(target_.bytes).subspan(kBytes / 2), 0));
}

TEST_F(TcpFrames, NothingLandsAfterCloseInTheMiddleOfAPut) {
  const std::vector<char> half(kBytes / 2, 'x');
  send_struct(fd(LaneId::kBulk), put_of(kBytes));
  send_all(fd(LaneId::kBulk), half.data(), half.size());
  ASSERT_TRUE(
      under_test_.progress_until([&] { return target_.bytes[kBytes / 2 - 1] == std::byte{'x'}; }));
  under_test_.endpoint().close();
  send_all(fd(LaneId::kBulk), half.data(), half.size());
  ASSERT_TRUE(under_test_.progress_until([&] { return sink().count(Kind::kClosed) == 1; }));
  under_test_.settle();
  EXPECT_TRUE(all_equal(std::span(target_.bytes).subspan(kBytes / 2), 0));
  EXPECT_EQ(sink().count(Kind::kNotification), 0U);
}

TEST_F(TcpFrames, NothingLandsAfterItsRegistrationIsGone) {
  const std::vector<char> half(kBytes / 2, 'x');
  send_struct(fd(LaneId::kBulk), put_of(kBytes));
  send_all(fd(LaneId::kBulk), half.data(), half.size());
  ASSERT_TRUE(
      under_test_.progress_until([&] { return target_.bytes[kBytes / 2 - 1] == std::byte{'x'}; }));
  target_.registration.reset();
  send_all(fd(LaneId::kBulk), half.data(), half.size());
  expect_failed("registration was destroyed");
  EXPECT_TRUE(all_equal(std::span(target_.bytes).subspan(kBytes / 2), 0));
}

TEST_F(TcpFrames, AnotherRegistrationMayGoWhileAPutArrives) {
  TestBuffer other = make_buffer(under_test_.rail(), 10, 0);
  const std::vector<char> half(kBytes / 2, 'x');
  send_struct(fd(LaneId::kBulk), put_of(kBytes));
  send_all(fd(LaneId::kBulk), half.data(), half.size());
  under_test_.settle(3);
  other.registration.reset();
  send_all(fd(LaneId::kBulk), half.data(), half.size());
  ASSERT_TRUE(under_test_.progress_until([&] { return sink().count(Kind::kNotification) == 1; }));
  EXPECT_TRUE(all_equal(target_.bytes, 'x'));
}

// Streams of right frames with bytes changed at random: whatever they do, memory around what is
// registered stays as it is, and the endpoint can be closed.
TEST(TcpFramesFuzz, DamagedStreamsWriteOnlyWhereTheyMay) {
  constexpr size_t kGuard = 4096;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    RailUnderTest under_test(test_options());
    RawPeer peer(under_test);
    peer.connect();
    std::vector<std::byte> memory(3 * kGuard, std::byte{0x5a});
    auto registration =
        under_test.rail().register_memory({.address = memory.data() + kGuard, .bytes = kGuard});
    ASSERT_TRUE(registration);
    std::vector<std::byte> stream;
    for (int frame = 0; frame < 20; ++frame) {
      const uint64_t bytes = random() % 200;
      append(stream, PutHeader{.flags = tcp::kNotifyFlag,
                               .bytes = bytes,
                               .key = (*registration)->key(),
                               .offset = random() % (kGuard - bytes)});
      stream.resize(stream.size() + bytes, std::byte{0x11});
    }
    for (uint64_t damage = random() % 4; damage > 0; --damage) {
      stream[random() % stream.size()] ^= std::byte{static_cast<uint8_t>(1U << random() % 8)};
    }
    send_all(peer.fd(LaneId::kSmall), stream.data(), stream.size());
    under_test.settle(5);
    under_test.endpoint().close();
    ASSERT_TRUE(
        under_test.progress_until([&] { return under_test.sink().count(Kind::kClosed) == 1; }));
    EXPECT_TRUE(all_equal(std::span(memory).first(kGuard), 0x5a));
    EXPECT_TRUE(all_equal(std::span(memory).last(kGuard), 0x5a));
  }
}

}  // namespace
}  // namespace railccl::testing_support
