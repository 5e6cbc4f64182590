#include "src/core/message.h"

#include <cstring>

namespace railccl {

Result<Message> parse_message(std::span<const std::byte> bytes) {
  Message message;
  if (bytes.size() < sizeof message.header) {
    return error(Code::kPeerFailed, "message of {} bytes is shorter than its header", bytes.size());
  }
  std::memcpy(&message.header, bytes.data(), sizeof message.header);
  message.body = bytes.subspan(sizeof message.header);
  const auto type = static_cast<uint8_t>(message.header.type);
  if (type < static_cast<uint8_t>(MessageType::kReady) ||
      type > static_cast<uint8_t>(MessageType::kCredit)) {
    return error(Code::kPeerFailed, "message of unknown type {}", type);
  }
  return message;
}

// | bytes 8 | rails 8 | key 8 ... |
std::vector<std::byte> pack(const RemoteBuffer& buffer) {
  std::vector<uint64_t> words = {buffer.bytes, buffer.rail_keys.size()};
  words.insert(words.end(), buffer.rail_keys.begin(), buffer.rail_keys.end());
  std::vector<std::byte> bytes(words.size() * sizeof(uint64_t));
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

Result<RemoteBuffer> unpack_remote_buffer(std::span<const std::byte> bytes) {
  std::array<uint64_t, 2> head{};
  if (bytes.size() < sizeof head) {
    return error(Code::kPeerFailed, "buffer description of {} bytes is too short", bytes.size());
  }
  std::memcpy(head.data(), bytes.data(), sizeof head);
  const auto body = bytes.subspan(sizeof head);
  if (head[1] > kMaxRails || body.size() != head[1] * sizeof(uint64_t)) {
    return error(Code::kPeerFailed, "buffer description for {} rails has {} bytes of keys", head[1],
                 body.size());
  }
  RemoteBuffer buffer;
  buffer.bytes = head[0];
  buffer.rail_keys.resize(head[1]);
  if (!body.empty()) std::memcpy(buffer.rail_keys.data(), body.data(), body.size());
  return buffer;
}

}  // namespace railccl
