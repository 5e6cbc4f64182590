// What two links say to each other, byte for byte. Three kinds:
//  - notes: the 32 bytes of a put's Notification. All but chunks and messages are zero-byte puts;
//    each is idempotent and may be lost with its rail, repeated or reordered.
//  - frames: link control of variable size (verdicts, addresses of new endpoints). They travel in
//    the ordered message stream of the rails and on the control path, usually on both.
//  - the link's address, for connect().
// Pure; any thread. Nothing that is decoded is believed: every decoder checks lengths and ranges.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "src/base/status.h"
#include "transport/rail.h"

namespace railccl::wire {

constexpr size_t kMaxPairs = kMaxRails;
constexpr uint64_t kMaxOpenPuts = 1024;   // begun and not acknowledged: what a record may hold
constexpr uint64_t kMessageWindow = 64;   // sent and not consumed: the bits of messages_above
constexpr size_t kMessageAlignment = 64;  // in the ring

// --- Notes -----------------------------------------------------------------------------------
//  word 1 of every note:   63    56 55    48 47      32 31          0
//                         | flags  |  kind  |  epoch   |  sequence   |
// `epoch` is that of the pair that carries the note.
enum class NoteKind : uint8_t {
  kChunk = 1,  // sequence: of the put; words tag, -, offset | crc << 48, total | crc >> 16 << 48;
               // with kWholeFlag: tag, -, puts | messages << 32, crc | puts_above << 32
  kMessage,    // sequence: of the message; words position | bytes << 32, -, then as kWholeFlag
  kAck,        // words puts | messages << 32, -, puts_above[0], puts_above[1]
  kRailDown,   // words pair | epoch << 32, -, 0, 0
  kFenced,     // words pair | epoch << 32, -, messages, messages_above
  kProbe,      // sequence: number of the probe; sent back as
  kEcho,
};
constexpr uint8_t kLinkControlFlag = 1;  // kMessage: a frame for the link, not for its user
constexpr uint8_t kCheckedFlag = 2;      // kChunk, kMessage: `crc` is that of the bytes
constexpr uint8_t kWholeFlag = 4;  // kChunk: it is the whole put, and carries an acknowledgement
constexpr uint64_t kOffsetMask = (uint64_t{1} << 48) - 1;  // of a checked chunk

struct NoteHeader {
  NoteKind kind = NoteKind::kChunk;
  uint8_t flags = 0;
  uint16_t epoch = 0;
  uint32_t sequence = 0;
};

// What a receiver has. Cumulative counts are the low halves of 64-bit sequences.
struct AckNote {
  uint32_t puts = 0;                     // all before this one are whole
  uint32_t messages = 0;                 // all before this one are consumed
  std::array<uint64_t, 2> puts_above{};  // bit i: put `puts + 1 + i` is whole
};

// It is told whole on a chunk or a message.
bool fits_on_the_way(const AckNote& ack);

struct ChunkNote {
  uint64_t tag = 0;     // the user's, of the put
  uint64_t offset = 0;  // of the chunk in the put; its bytes are those of the endpoint's put
  uint64_t total = 0;   // of the put
  uint32_t crc = 0;     // CRC32C of its bytes, if the header has kCheckedFlag
  AckNote ack;          // if the header has kWholeFlag; of puts_above the first 32 bits
};

struct MessageNote {
  uint32_t position = 0;  // in the receiver's ring
  uint32_t bytes = 0;
  uint32_t crc = 0;  // as a chunk's
  AckNote ack;       // as a whole chunk's
};

struct PairEpoch {
  uint32_t pair = 0;
  uint16_t epoch = 0;
};

// Of the message stream, at the fence.
struct MessagesArrived {
  uint32_t next = 0;   // all before this one have arrived
  uint64_t above = 0;  // bit i: message `next + 1 + i` has arrived
};

struct FencedNote {
  PairEpoch rail;
  MessagesArrived messages;
};

Notification encode(const NoteHeader& header, const ChunkNote& chunk);
Notification encode(const NoteHeader& header, const MessageNote& message);
Notification encode(const NoteHeader& header, const AckNote& ack);
Notification encode(const NoteHeader& header, const PairEpoch& down);
Notification encode(const NoteHeader& header, const FencedNote& fenced);
Notification encode(const NoteHeader& header);  // probe, echo

// Fails for a kind that is not one.
Result<NoteHeader> decode_header(const Notification& note);
// `bytes`: of its put.
ChunkNote decode_chunk(const Notification& note, uint64_t bytes);
MessageNote decode_message(const Notification& note);
AckNote decode_ack(const Notification& note);
PairEpoch decode_rail_down(const Notification& note);
FencedNote decode_fenced(const Notification& note);

// --- Frames ----------------------------------------------------------------------------------
struct Interval {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool operator==(const Interval&) const = default;
};

// What has arrived of one open put. A whole put is one interval [0, total).
struct LandedPut {
  uint32_t put = 0;
  std::vector<Interval> intervals;
};

struct RailDownFrame {
  PairEpoch rail;
};
constexpr size_t kMaxWhyBytes = 240;
// The receiver's word on what landed, in `parts` frames. True of the fenced rail and epoch from the
// fence on; what arrives over other rails meanwhile may be in it or not.
struct VerdictFrame {
  PairEpoch rail;
  uint32_t number = 0;  // of the verdict: parts of different verdicts are not mixed
  uint16_t part = 0;
  uint16_t parts = 1;
  bool switched_off = false;  // by the sender's user: that is why
  std::string why;            // what the sender found by itself; at most kMaxWhyBytes
  uint32_t puts = 0;          // all before this one are whole
  MessagesArrived messages;
  std::vector<LandedPut> landed;
};
// A new endpoint for a pair that is down, with the next epoch; and the answer to it.
struct OfferFrame {
  PairEpoch rail;
  std::vector<std::byte> address;
};
struct AnswerFrame {
  PairEpoch rail;
  std::vector<std::byte> address;
};
// Is the peer's link alive, when a rail is silent? Control path only.
struct PingFrame {};
struct PongFrame {};
// The peer closes its link in order; its last acknowledgement. Control path only.
struct GoodbyeFrame {
  AckNote ack;
};

// The sender's user has switched its rail of this pair off, or on again. Control path only, where
// order is kept.
struct SwitchFrame {
  uint32_t pair = 0;
  bool on = true;
};

using Frame = std::variant<RailDownFrame, VerdictFrame, OfferFrame, AnswerFrame, PingFrame,
                           PongFrame, GoodbyeFrame, SwitchFrame>;

std::vector<std::byte> encode(const Frame& frame);
Result<Frame> decode_frame(std::span<const std::byte> bytes);

// Bytes of a frame's landed list, to cut a verdict into parts.
size_t landed_bytes(const LandedPut& landed);

// --- The link's address ------------------------------------------------------------------------
struct LinkAddress {
  uint32_t ring_bytes = 0;
  struct Pair {
    uint64_t ring_key = 0;  // of the message ring, on the pair's local rail
    std::vector<std::byte> endpoint;
  };
  std::vector<Pair> pairs;
};
std::vector<std::byte> encode(const LinkAddress& address);
Result<LinkAddress> decode_address(std::span<const std::byte> bytes);

}  // namespace railccl::wire
