// What the cores of two ranks say to each other over a link, in messages. Little-endian, fixed
// layout; a message that does not parse is refused with an error and never believed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "src/base/status.h"
#include "src/core/call.h"
#include "transport/link.h"

namespace railccl {

enum class MessageType : uint8_t {
  kReady = 1,     // "I am in operation `sequence`; put into my output": body = RemoteBuffer
  kData = 2,      // small put: body goes to (buffer, offset), then notification `tag`
  kP2pReady = 3,  // receive number `sequence` of this pair is posted: body = RemoteBuffer
  kP2pData = 4,   // the whole of small send number `sequence`
  kCredit = 5,    // nothing but `consumed`, which every message has
};

// | type 1 | buffer 1 | consumed 2 | sequence 4 | kind 8 | count 8 | tag 8 | offset 8 | = 40 bytes,
// then the body
struct MessageHeader {
  MessageType type = MessageType::kReady;
  uint8_t buffer = 0;     // kData: BufferId
  uint16_t consumed = 0;  // of the receiver's small data: CreditWindow::to_tell
  uint32_t sequence = 0;
  Fingerprint fingerprint;
  uint64_t tag = 0;
  uint64_t offset = 0;  // bytes within the buffer (kData) or the registration (kReady, kP2pReady)
};
static_assert(sizeof(MessageHeader) == 40);

inline std::span<const std::byte> as_bytes(const MessageHeader& header) {
  return {reinterpret_cast<const std::byte*>(&header), sizeof header};
}

struct Message {
  MessageHeader header;
  std::span<const std::byte> body;  // within the parsed bytes
};
Result<Message> parse_message(std::span<const std::byte> bytes);

std::vector<std::byte> pack(const RemoteBuffer& buffer);
Result<RemoteBuffer> unpack_remote_buffer(std::span<const std::byte> bytes);

}  // namespace railccl
