// The link's formats: what is encoded comes back, and no bytes at all make a decoder misbehave.
#include "transport/wire.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "transport/sequence_ring.h"

namespace railccl::wire {
namespace {

std::vector<std::byte> random_bytes(std::mt19937_64& random, size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TEST(Wire, NotesComeBack) {
  const NoteHeader header{
      .kind = NoteKind::kMessage, .flags = 0x81, .epoch = 0xfedc, .sequence = 0x89abcdef};
  const ChunkNote chunk{
      .tag = ~uint64_t{0}, .offset = uint64_t{1} << 50, .total = uint64_t{1} << 51};
  const ChunkNote chunk_back = decode_chunk(encode(header, chunk), 0);
  EXPECT_EQ(chunk_back.tag, chunk.tag);
  EXPECT_EQ(chunk_back.offset, chunk.offset);
  EXPECT_EQ(chunk_back.total, chunk.total);
  const auto header_back = decode_header(encode(header, chunk));
  ASSERT_TRUE(header_back);
  EXPECT_EQ(header_back->kind, header.kind);
  EXPECT_EQ(header_back->flags, header.flags);
  EXPECT_EQ(header_back->epoch, header.epoch);
  EXPECT_EQ(header_back->sequence, header.sequence);
  const MessageNote message =
      decode_message(encode(header, MessageNote{.position = 5, .bytes = 6}));
  EXPECT_EQ(message.position, 5u);
  EXPECT_EQ(message.bytes, 6u);
  const AckNote ack = decode_ack(encode(header, AckNote{1, 2, {3, 4}}));
  EXPECT_EQ(ack.puts, 1u);
  EXPECT_EQ(ack.messages, 2u);
  EXPECT_EQ(ack.puts_above, (std::array<uint64_t, 2>{3, 4}));
  const PairEpoch down = decode_rail_down(encode(header, PairEpoch{.pair = 7, .epoch = 65535}));
  EXPECT_EQ(down.pair, 7u);
  EXPECT_EQ(down.epoch, 65535);
  const FencedNote fenced = decode_fenced(
      encode(header, FencedNote{.rail = {.pair = 1, .epoch = 2}, .messages = {3, 4}}));
  EXPECT_EQ(fenced.rail.pair, 1u);
  EXPECT_EQ(fenced.rail.epoch, 2);
  EXPECT_EQ(fenced.messages.next, 3u);
  EXPECT_EQ(fenced.messages.above, 4u);
}

TEST(Wire, CheckedNotesCarryTheirChecksum) {
  constexpr uint64_t kLargest = uint64_t{1} << 40;
  const NoteHeader header{.kind = NoteKind::kChunk, .flags = kCheckedFlag};
  for (const uint32_t crc : {0u, 1u, 0x12345678u, ~0u}) {
    const ChunkNote chunk = decode_chunk(
        encode(header, ChunkNote{.tag = 9, .offset = kLargest - 1, .total = kLargest, .crc = crc}),
        1);
    EXPECT_EQ(chunk.tag, 9u);
    EXPECT_EQ(chunk.offset, kLargest - 1);
    EXPECT_EQ(chunk.total, kLargest);
    EXPECT_EQ(chunk.crc, crc);
    const MessageNote message =
        decode_message(encode(header, MessageNote{.position = ~0u, .bytes = 6, .crc = crc}));
    EXPECT_EQ(message.position, ~0u);
    EXPECT_EQ(message.bytes, 6u);
    EXPECT_EQ(message.crc, crc);
  }
}

TEST(Wire, WholeChunksAndMessagesCarryAnAcknowledgement) {
  const AckNote ack{.puts = ~0u, .messages = 7, .puts_above = {0x80000001, 0}};
  EXPECT_TRUE(fits_on_the_way(ack));
  const NoteHeader header{.kind = NoteKind::kChunk, .flags = kCheckedFlag | kWholeFlag};
  const ChunkNote chunk =
      decode_chunk(encode(header, ChunkNote{.tag = 9, .total = 33, .crc = ~0u, .ack = ack}), 33);
  EXPECT_EQ(chunk.tag, 9u);
  EXPECT_EQ(chunk.offset, 0u);
  EXPECT_EQ(chunk.total, 33u);
  EXPECT_EQ(chunk.crc, ~0u);
  const MessageNote message =
      decode_message(encode(header, MessageNote{.position = 1, .bytes = 2, .crc = 3, .ack = ack}));
  EXPECT_EQ(message.crc, 3u);
  for (const AckNote& told : {chunk.ack, message.ack}) {
    EXPECT_EQ(told.puts, ack.puts);
    EXPECT_EQ(told.messages, ack.messages);
    EXPECT_EQ(told.puts_above, ack.puts_above);
  }
  EXPECT_FALSE(fits_on_the_way({.puts_above = {uint64_t{1} << 32, 0}}));
  EXPECT_FALSE(fits_on_the_way({.puts_above = {0, 1}}));
}

TEST(Wire, UnknownNotesAreRefused) {
  EXPECT_FALSE(decode_header({0, 0, 0, 0}));
  EXPECT_FALSE(decode_header({0, uint64_t{0xff} << 48, 0, 0}));
}

std::vector<Frame> sample_frames(std::mt19937_64& random) {
  VerdictFrame verdict{.rail = {.pair = 3, .epoch = 9},
                       .number = 77,
                       .part = 1,
                       .parts = 2,
                       .why = "no route",
                       .puts = 5,
                       .messages = {6, 7}};
  verdict.landed.push_back({.put = 8, .intervals = {{0, 10}, {20, 30}}});
  verdict.landed.push_back({.put = 9, .intervals = {}});
  return {RailDownFrame{{.pair = 2, .epoch = 3}},
          verdict,
          OfferFrame{{.pair = 1, .epoch = 4}, random_bytes(random, 56)},
          AnswerFrame{{.pair = 1, .epoch = 4}, random_bytes(random, kMaxAddressBytes)},
          PingFrame{},
          PongFrame{},
          GoodbyeFrame{{1, 2, {3, 4}}},
          SwitchFrame{.pair = 1, .on = false}};
}

TEST(Wire, FramesComeBack) {
  std::mt19937_64 random(1);
  for (const Frame& frame : sample_frames(random)) {
    const std::vector<std::byte> bytes = encode(frame);
    const Result<Frame> back = decode_frame(bytes);
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(back->index(), frame.index());
    EXPECT_EQ(encode(*back), bytes);
  }
  const auto back = decode_frame(encode(sample_frames(random)[1]));
  const auto& verdict = std::get<VerdictFrame>(*back);
  EXPECT_EQ(verdict.number, 77u);
  EXPECT_EQ(verdict.why, "no route");
  ASSERT_EQ(verdict.landed.size(), 2u);
  EXPECT_EQ(verdict.landed[0].intervals, (std::vector<Interval>{{0, 10}, {20, 30}}));
}

TEST(Wire, APeersReasonIsShortAndCanBePrinted) {
  const VerdictFrame told{.why = "a\x1b[2Jb\n" + std::string(1000, 'x')};
  const auto back = decode_frame(encode(Frame(told)));
  ASSERT_TRUE(back);
  const std::string& why = std::get<VerdictFrame>(*back).why;
  EXPECT_EQ(why, "a?[2Jb?" + std::string(kMaxWhyBytes - 7, 'x'));
  std::vector<std::byte> unprintable = encode(Frame(VerdictFrame{.why = "abc"}));
  const auto at = std::ranges::search(unprintable, std::as_bytes(std::span("abc", 3)));
  at.front() = std::byte{0x1b};
  EXPECT_FALSE(decode_frame(unprintable));
}

TEST(Wire, CutAndDamagedFramesAreRefusedOrReadWithoutHarm) {
  std::mt19937_64 random(2);
  for (const Frame& frame : sample_frames(random)) {
    const std::vector<std::byte> bytes = encode(frame);
    for (size_t cut = 0; cut < bytes.size(); ++cut) {
      EXPECT_FALSE(decode_frame(std::span(bytes).first(cut)));
    }
    std::vector<std::byte> longer = bytes;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(decode_frame(longer));
    for (int trial = 0; trial < 2000; ++trial) {
      std::vector<std::byte> damaged = bytes;
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
      (void)decode_frame(damaged).has_value();
    }
  }
}

TEST(Wire, RandomBytesAreRefused) {
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 5000; ++trial) {
    const std::vector<std::byte> bytes = random_bytes(random, random() % 200);
    EXPECT_FALSE(decode_frame(bytes));
    EXPECT_FALSE(decode_address(bytes));
  }
}

TEST(Wire, AddressesComeBackAndCutOnesAreRefused) {
  std::mt19937_64 random(4);
  LinkAddress address{.ring_bytes = 131072};
  address.pairs.push_back({.ring_key = 5, .endpoint = random_bytes(random, 56)});
  address.pairs.push_back({.ring_key = 6, .endpoint = {}});
  const std::vector<std::byte> bytes = encode(address);
  const auto back = decode_address(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->ring_bytes, 131072u);
  ASSERT_EQ(back->pairs.size(), 2u);
  EXPECT_EQ(back->pairs[0].endpoint, address.pairs[0].endpoint);
  EXPECT_EQ(back->pairs[1].ring_key, 6u);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(decode_address(std::span(bytes).first(cut)));
  }
}

TEST(Widen, FindsTheNearestSequence) {
  EXPECT_EQ(widen(5, 3), 5u);
  EXPECT_EQ(widen(0xffffffff, uint64_t{1} << 32), 0xffffffffu);
  EXPECT_EQ(widen(1, 0xffffffff), (uint64_t{1} << 32) + 1);
  EXPECT_EQ(widen(7, (uint64_t{9} << 32) + 3), (uint64_t{9} << 32) + 7);
}

TEST(SequenceRing, KeepsItemsWhileItGrowsAndMoves) {
  SequenceRing<uint64_t> ring;
  std::mt19937_64 random(5);
  for (int step = 0; step < 20000; ++step) {
    if (ring.empty() || (ring.size() < 300 && random() % 2 == 0)) {
      const uint64_t sequence = ring.end();
      ring.push_back() = sequence * 3;
    } else {
      ASSERT_EQ(ring.front(), ring.first() * 3);
      ring.pop_front();
    }
    for (uint64_t i = ring.first(); i != ring.end(); ++i) ASSERT_EQ(ring[i], i * 3);
  }
}

}  // namespace
}  // namespace railccl::wire
