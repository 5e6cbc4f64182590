// What a peer that proved itself may still get wrong: bytes that are no frames, puts outside what
// was registered, false acknowledgements, ends in the middle. It never touches memory that it must
// not, and the endpoint ends with an error.
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <cstring>

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

}  // namespace
}  // namespace railccl::testing_support
