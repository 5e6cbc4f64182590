#include "transport/wire.h"

#include <algorithm>
#include <functional>

#include "transport/byte_io.h"

namespace railccl::wire {
namespace {

constexpr uint64_t join(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }
constexpr uint32_t low_half(uint64_t word) { return static_cast<uint32_t>(word); }
constexpr uint32_t high_half(uint64_t word) { return static_cast<uint32_t>(word >> 32); }

uint64_t pack(const NoteHeader& header) {
  return uint64_t{header.sequence} | uint64_t{header.epoch} << 32 |
         uint64_t{static_cast<uint8_t>(header.kind)} << 48 | uint64_t{header.flags} << 56;
}

PairEpoch split_pair(uint64_t word) {
  return {.pair = low_half(word), .epoch = static_cast<uint16_t>(high_half(word))};
}

constexpr uint32_t kFrameMagic = 0x464b4c52;    // "RLKF"
constexpr uint32_t kAddressMagic = 0x414b4c52;  // "RLKA"
constexpr uint16_t kVersion = 3;

enum class FrameType : uint16_t {
  kRailDown = 1,
  kVerdict,
  kOffer,
  kAnswer,
  kPing,
  kPong,
  kGoodbye,
  kSwitch,
};

void write_rail(ByteWriter& out, const PairEpoch& rail) {
  out.write(static_cast<uint16_t>(rail.pair));
  out.write(rail.epoch);
}
PairEpoch read_rail(ByteReader& in) {
  PairEpoch rail;
  rail.pair = in.read<uint16_t>();
  rail.epoch = in.read<uint16_t>();
  return rail;
}

void write_blob(ByteWriter& out, const std::vector<std::byte>& blob) {
  out.write(static_cast<uint32_t>(blob.size()));
  out.write_bytes(blob);
}
std::vector<std::byte> read_blob(ByteReader& in) {
  const uint32_t bytes = in.read<uint32_t>();
  if (bytes > kMaxAddressBytes) in.fail();
  return in.read_bytes(bytes);
}

// A text that is going to be printed.
bool printable(char one) { return one >= ' ' && one <= '~'; }
void write_text(ByteWriter& out, std::string text) {
  text.resize(std::min(text.size(), kMaxWhyBytes));
  std::ranges::replace_if(text, std::not_fn(printable), '?');
  out.write(static_cast<uint8_t>(text.size()));
  out.write_bytes(std::as_bytes(std::span(text)));
}
std::string read_text(ByteReader& in) {
  std::string text;
  for (const std::byte byte : in.read_bytes(in.read<uint8_t>())) text += static_cast<char>(byte);
  if (text.size() > kMaxWhyBytes || !std::ranges::all_of(text, printable)) in.fail();
  return text;
}

struct FrameWriter {
  ByteWriter out;

  void begin(FrameType type) {
    out.write(kFrameMagic);
    out.write(static_cast<uint16_t>(type));
  }
  void operator()(const RailDownFrame& frame) {
    begin(FrameType::kRailDown);
    write_rail(out, frame.rail);
  }
  void operator()(const VerdictFrame& frame) {
    begin(FrameType::kVerdict);
    write_rail(out, frame.rail);
    out.write(frame.number);
    out.write(frame.part);
    out.write(frame.parts);
    out.write(static_cast<uint8_t>(frame.switched_off));
    write_text(out, frame.why);
    out.write(frame.puts);
    out.write(frame.messages.next);
    out.write(frame.messages.above);
    out.write(static_cast<uint32_t>(frame.landed.size()));
    for (const LandedPut& landed : frame.landed) {
      out.write(landed.put);
      out.write(static_cast<uint32_t>(landed.intervals.size()));
      for (const Interval& interval : landed.intervals) {
        out.write(interval.begin);
        out.write(interval.end);
      }
    }
  }
  void operator()(const OfferFrame& frame) {
    begin(FrameType::kOffer);
    write_rail(out, frame.rail);
    write_blob(out, frame.address);
  }
  void operator()(const AnswerFrame& frame) {
    begin(FrameType::kAnswer);
    write_rail(out, frame.rail);
    write_blob(out, frame.address);
  }
  void operator()(const PingFrame&) { begin(FrameType::kPing); }
  void operator()(const PongFrame&) { begin(FrameType::kPong); }
  void operator()(const GoodbyeFrame& frame) {
    begin(FrameType::kGoodbye);
    out.write(frame.ack.puts);
    out.write(frame.ack.messages);
    out.write(frame.ack.puts_above[0]);
    out.write(frame.ack.puts_above[1]);
  }
  void operator()(const SwitchFrame& frame) {
    begin(FrameType::kSwitch);
    out.write(static_cast<uint16_t>(frame.pair));
    out.write(static_cast<uint8_t>(frame.on));
  }
};

VerdictFrame read_verdict(ByteReader& in) {
  VerdictFrame frame;
  frame.rail = read_rail(in);
  frame.number = in.read<uint32_t>();
  frame.part = in.read<uint16_t>();
  frame.parts = in.read<uint16_t>();
  frame.switched_off = in.read_flag();
  frame.why = read_text(in);
  frame.puts = in.read<uint32_t>();
  frame.messages.next = in.read<uint32_t>();
  frame.messages.above = in.read<uint64_t>();
  const uint32_t puts = in.read<uint32_t>();
  for (uint32_t i = 0; i < puts && in.ok(); ++i) {
    LandedPut landed;
    landed.put = in.read<uint32_t>();
    const uint32_t intervals = in.read<uint32_t>();
    for (uint32_t k = 0; k < intervals && in.ok(); ++k) {
      Interval interval;
      interval.begin = in.read<uint64_t>();
      interval.end = in.read<uint64_t>();
      landed.intervals.push_back(interval);
    }
    frame.landed.push_back(std::move(landed));
  }
  return frame;
}

GoodbyeFrame read_goodbye(ByteReader& in) {
  GoodbyeFrame goodbye;
  goodbye.ack.puts = in.read<uint32_t>();
  goodbye.ack.messages = in.read<uint32_t>();
  goodbye.ack.puts_above[0] = in.read<uint64_t>();
  goodbye.ack.puts_above[1] = in.read<uint64_t>();
  return goodbye;
}

Frame read_body(FrameType type, ByteReader& in) {
  switch (type) {
    case FrameType::kRailDown:
      return RailDownFrame{.rail = read_rail(in)};
    case FrameType::kVerdict:
      return read_verdict(in);
    case FrameType::kOffer: {
      const PairEpoch rail = read_rail(in);
      return OfferFrame{.rail = rail, .address = read_blob(in)};
    }
    case FrameType::kAnswer: {
      const PairEpoch rail = read_rail(in);
      return AnswerFrame{.rail = rail, .address = read_blob(in)};
    }
    case FrameType::kPing:
      return PingFrame{};
    case FrameType::kPong:
      return PongFrame{};
    case FrameType::kGoodbye:
      return read_goodbye(in);
    case FrameType::kSwitch:
      break;
  }
  const uint32_t pair = in.read<uint16_t>();
  return SwitchFrame{.pair = pair, .on = in.read_flag()};
}

uint64_t carried(const AckNote& ack) { return join(ack.puts, ack.messages); }
uint64_t carried(uint32_t crc, const AckNote& ack) {
  return join(crc, low_half(ack.puts_above[0]));
}
AckNote read_carried(const Notification& note) {
  return {.puts = low_half(note[2]),
          .messages = high_half(note[2]),
          .puts_above = {high_half(note[3]), 0}};
}

}  // namespace

bool fits_on_the_way(const AckNote& ack) {
  return high_half(ack.puts_above[0]) == 0 && ack.puts_above[1] == 0;
}

Notification encode(const NoteHeader& header, const ChunkNote& chunk) {
  if ((header.flags & kWholeFlag) != 0) {
    return {chunk.tag, pack(header), carried(chunk.ack), carried(chunk.crc, chunk.ack)};
  }
  if ((header.flags & kCheckedFlag) == 0)
    return {chunk.tag, pack(header), chunk.offset, chunk.total};
  return {chunk.tag, pack(header), chunk.offset | uint64_t{chunk.crc & 0xffff} << 48,
          chunk.total | uint64_t{chunk.crc >> 16} << 48};
}
Notification encode(const NoteHeader& header, const MessageNote& message) {
  return {join(message.position, message.bytes), pack(header), carried(message.ack),
          carried(message.crc, message.ack)};
}
Notification encode(const NoteHeader& header, const AckNote& ack) {
  return {join(ack.puts, ack.messages), pack(header), ack.puts_above[0], ack.puts_above[1]};
}
Notification encode(const NoteHeader& header, const PairEpoch& down) {
  return {join(down.pair, down.epoch), pack(header), 0, 0};
}
Notification encode(const NoteHeader& header, const FencedNote& fenced) {
  return {join(fenced.rail.pair, fenced.rail.epoch), pack(header), fenced.messages.next,
          fenced.messages.above};
}
Notification encode(const NoteHeader& header) { return {0, pack(header), 0, 0}; }

Result<NoteHeader> decode_header(const Notification& note) {
  NoteHeader header;
  const auto kind = static_cast<uint8_t>(note[1] >> 48);
  if (kind < static_cast<uint8_t>(NoteKind::kChunk) ||
      kind > static_cast<uint8_t>(NoteKind::kEcho)) {
    return error(Code::kInternalError, "a notification of unknown kind {}", kind);
  }
  header.kind = static_cast<NoteKind>(kind);
  header.flags = static_cast<uint8_t>(note[1] >> 56);
  header.epoch = static_cast<uint16_t>(note[1] >> 32);
  header.sequence = low_half(note[1]);
  return header;
}

ChunkNote decode_chunk(const Notification& note, uint64_t bytes) {
  if ((note[1] >> 56 & kWholeFlag) != 0) {
    return {.tag = note[0],
            .offset = 0,
            .total = bytes,
            .crc = low_half(note[3]),
            .ack = read_carried(note)};
  }
  if ((note[1] >> 56 & kCheckedFlag) == 0) {
    return {.tag = note[0], .offset = note[2], .total = note[3]};
  }
  return {.tag = note[0],
          .offset = note[2] & kOffsetMask,
          .total = note[3] & kOffsetMask,
          .crc = static_cast<uint32_t>(note[2] >> 48 | note[3] >> 48 << 16)};
}
MessageNote decode_message(const Notification& note) {
  return {.position = low_half(note[0]),
          .bytes = high_half(note[0]),
          .crc = low_half(note[3]),
          .ack = read_carried(note)};
}
AckNote decode_ack(const Notification& note) {
  return {
      .puts = low_half(note[0]), .messages = high_half(note[0]), .puts_above = {note[2], note[3]}};
}
PairEpoch decode_rail_down(const Notification& note) { return split_pair(note[0]); }
FencedNote decode_fenced(const Notification& note) {
  return {.rail = split_pair(note[0]), .messages = {.next = low_half(note[2]), .above = note[3]}};
}

std::vector<std::byte> encode(const Frame& frame) {
  FrameWriter writer;
  std::visit(writer, frame);
  return writer.out.take();
}

Result<Frame> decode_frame(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  if (in.read<uint32_t>() != kFrameMagic) {
    return error(Code::kInternalError, "{} bytes that are no frame of a link", bytes.size());
  }
  const uint16_t type = in.read<uint16_t>();
  if (type < static_cast<uint16_t>(FrameType::kRailDown) ||
      type > static_cast<uint16_t>(FrameType::kSwitch)) {
    return error(Code::kInternalError, "a link frame of unknown type {}", type);
  }
  Frame frame = read_body(static_cast<FrameType>(type), in);
  if (!in.at_end()) {
    return error(Code::kInternalError, "a link frame of type {} with {} bytes is malformed", type,
                 bytes.size());
  }
  return frame;
}

size_t landed_bytes(const LandedPut& landed) { return 8 + 16 * landed.intervals.size(); }

std::vector<std::byte> encode(const LinkAddress& address) {
  ByteWriter out;
  out.write(kAddressMagic);
  out.write(kVersion);
  out.write(static_cast<uint16_t>(address.pairs.size()));
  out.write(address.ring_bytes);
  for (const LinkAddress::Pair& pair : address.pairs) {
    out.write(pair.ring_key);
    write_blob(out, pair.endpoint);
  }
  return out.take();
}

Result<LinkAddress> decode_address(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  if (in.read<uint32_t>() != kAddressMagic) {
    return error(Code::kInternalError, "{} bytes that are no address of a link", bytes.size());
  }
  if (const uint16_t version = in.read<uint16_t>(); version != kVersion) {
    return error(Code::kMismatch, "the peer's link speaks version {}, this one {}: use one build",
                 version, kVersion);
  }
  LinkAddress address;
  const uint16_t pairs = in.read<uint16_t>();
  address.ring_bytes = in.read<uint32_t>();
  for (uint16_t i = 0; i < pairs && in.ok(); ++i) {
    LinkAddress::Pair pair;
    pair.ring_key = in.read<uint64_t>();
    pair.endpoint = read_blob(in);
    address.pairs.push_back(std::move(pair));
  }
  if (!in.at_end()) {
    return error(Code::kInternalError, "the peer's link address of {} bytes is malformed",
                 bytes.size());
  }
  return address;
}

}  // namespace railccl::wire
