// Fuzz target: what links and the core say to each other.
#include <algorithm>
#include <cstring>

#include "src/core/message.h"
#include "tests/fuzz/target.h"
#include "transport/wire.h"

namespace railccl::fuzz {
namespace {

void notes(Bytes input) {
  Notification note{};
  std::memcpy(note.data(), input.data(), std::min(input.size(), sizeof note));
  const auto header = wire::decode_header(note);
  if (!header) return;
  const wire::ChunkNote chunk = wire::decode_chunk(note, input.size());
  require(wire::encode(*header, chunk) == note, "a chunk's note does not come back");
  const wire::MessageNote message = wire::decode_message(note);
  require(wire::encode(*header, message) == note, "a message's note does not come back");
  const wire::AckNote ack = wire::decode_ack(note);
  require(wire::decode_ack(encode(*header, ack)).puts_above == ack.puts_above,
          "an acknowledgement does not come back");
  (void)wire::decode_rail_down(note);
  (void)wire::decode_fenced(note);
}

}  // namespace

void link_wire(Bytes input) {
  notes(input);
  if (const auto frame = wire::decode_frame(input)) {
    const std::vector<std::byte> bytes = wire::encode(*frame);
    require(std::ranges::equal(bytes, input), "a frame does not come back");
  }
  if (const auto address = wire::decode_address(input)) {
    require(std::ranges::equal(wire::encode(*address), input), "an address does not come back");
  }
  if (const auto message = parse_message(input)) {
    require(message->body.size() + sizeof message->header == input.size(), "a message lost bytes");
  }
  if (const auto buffer = unpack_remote_buffer(input)) {
    require(std::ranges::equal(pack(*buffer), input), "a buffer's description does not come back");
  }
}

}  // namespace railccl::fuzz
