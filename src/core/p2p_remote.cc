// Point-to-point transfers between nodes (see p2p.h).
#include <algorithm>
#include <cstring>

#include "src/core/p2p.h"
#include "src/core/p2p_wire.h"

namespace railccl {
namespace {

// The entry of `queue` with this number, or its end.
template <typename Queue, typename Number>
auto find_number(Queue& queue, uint32_t sequence, Number number) {
  return std::find_if(queue.begin(), queue.end(),
                      [&](const auto& entry) { return number(entry) == sequence; });
}

constexpr TimeNs kAskAfter = kSecond;

}  // namespace

Result<bool> P2p::send_remote(Transfer& transfer, TimeNs now) {
  if (transfer.stage == Stage::kInFlight) return false;
  // Questions of the receiver (ask_sender) that crossed an earlier send.
  std::erase_if(inbox_of(transfer.call.peer).p2p_ready(), [&](const Inbox::Ready& entry) {
    return static_cast<int32_t>(entry.sequence - transfer.sequence) < 0;
  });
  if (transfer.call.bytes() > services_.eager_bytes) return send_remote_bulk(transfer, now);
  const MessageHeader header{.type = MessageType::kP2pData,
                             .sequence = transfer.sequence,
                             .fingerprint = transfer.call.fingerprint()};
  const std::span<const std::byte> body(transfer.call.buffer, transfer.call.bytes());
  RAILCCL_ASSIGN(const bool sent, services_.peers->send(transfer.call.peer, header, body, now));
  if (sent) transfer.stage = Stage::kDone;
  return sent;
}

Result<bool> P2p::send_remote_bulk(Transfer& transfer, TimeNs now) {
  auto& queue = inbox_of(transfer.call.peer).p2p_ready();
  const auto ready = find_number(queue, transfer.sequence,
                                 [](const Inbox::Ready& entry) { return entry.sequence; });
  if (ready == queue.end() || !services_.peers->connected(transfer.call.peer)) return false;
  RAILCCL_TRY(mismatch(transfer, ready->fingerprint));
  RAILCCL_ASSIGN(transfer.memory,
                 services_.rail_memory->acquire(transfer.call.buffer, transfer.call.bytes()));
  const auto source_offset =
      static_cast<uint64_t>(transfer.call.buffer - transfer.memory->region.address);
  const LinkPut put{.token = transfer.id,
                    .source = transfer.memory.get(),
                    .source_offset = source_offset,
                    .bytes = transfer.call.bytes(),
                    .target = &ready->target,
                    .target_offset = ready->offset,
                    .tag = p2p_tag(P2pTag::kData, transfer.sequence)};
  transfer.stage = Stage::kInFlight;
  RAILCCL_TRY(services_.peers->put(transfer.call.peer, put, now));
  queue.erase(ready);
  return true;
}

Result<bool> P2p::receive_remote(const Group& group, Transfer& transfer, TimeNs now) {
  auto& queue = inbox_of(transfer.call.peer).p2p_data();
  const auto data = find_number(queue, transfer.sequence,
                                [](const Inbox::Data& entry) { return entry.header.sequence; });
  if (data != queue.end()) {
    RAILCCL_TRY(mismatch(transfer, data->header.fingerprint));
    if (data->body.size() != transfer.call.bytes()) {
      return error(Code::kPeerFailed, "rank {} sent {} bytes instead of {}", transfer.call.peer,
                   data->body.size(), transfer.call.bytes());
    }
    if (!data->body.empty()) {
      std::memcpy(transfer.call.buffer, data->body.data(), data->body.size());
    }
    services_.peers->consumed(transfer.call.peer, data->body.size());
    queue.erase(data);
    transfer.stage = Stage::kDone;
    return true;
  }
  return transfer.call.bytes() > services_.eager_bytes ? receive_remote_bulk(transfer, now)
                                                       : ask_sender(group, transfer, now);
}

// Small data comes by itself. But a sender that believes in a large count waits for a buffer for
// ever, so after a while it is told what is expected here, and finds the difference.
Result<bool> P2p::ask_sender(const Group& group, Transfer& transfer, TimeNs now) {
  if (transfer.stage == Stage::kInFlight || now < group.began + kAskAfter) return false;
  const MessageHeader header{.type = MessageType::kP2pReady,
                             .sequence = transfer.sequence,
                             .fingerprint = transfer.call.fingerprint()};
  RAILCCL_ASSIGN(const bool sent,
                 services_.peers->send(transfer.call.peer, header, pack(RemoteBuffer{}), now));
  if (sent) transfer.stage = Stage::kInFlight;
  return sent;
}

Result<bool> P2p::receive_remote_bulk(Transfer& transfer, TimeNs now) {
  if (transfer.stage == Stage::kStart) {
    if (transfer.memory == nullptr) {
      RAILCCL_ASSIGN(transfer.memory,
                     services_.rail_memory->acquire(transfer.call.buffer, transfer.call.bytes()));
    }
    RemoteBuffer target = railccl::describe(*transfer.memory);
    const MessageHeader header{
        .type = MessageType::kP2pReady,
        .sequence = transfer.sequence,
        .fingerprint = transfer.call.fingerprint(),
        .offset = static_cast<uint64_t>(transfer.call.buffer - transfer.memory->region.address)};
    RAILCCL_ASSIGN(const bool sent,
                   services_.peers->send(transfer.call.peer, header, pack(target), now));
    if (!sent) return false;
    transfer.stage = Stage::kInFlight;
    return true;
  }
  const uint64_t tag = p2p_tag(P2pTag::kData, transfer.sequence);
  if (!inbox_of(transfer.call.peer).take_notification(tag)) return false;
  transfer.memory.reset();
  transfer.stage = Stage::kDone;
  return true;
}

}  // namespace railccl
