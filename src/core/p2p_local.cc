// Point-to-point transfers inside a node (see p2p.h). Slot number k of a pair lies in the sender's
// shared scratch at (receiver's index, k mod kP2pSlots); the sender fills it and notifies, the
// receiver empties it and notifies back.
#include <algorithm>
#include <cstring>

#include "src/core/p2p.h"
#include "src/core/p2p_wire.h"

namespace railccl {
namespace {

constexpr uint64_t kSlotPayload = kP2pSlotBytes - kP2pHeaderBytes;

std::byte* slot_of(LocalDomain& local, int sender_index, int receiver_index, uint32_t number) {
  const uint64_t position = static_cast<uint64_t>(receiver_index) * kP2pSlots + number % kP2pSlots;
  return local.scratch(sender_index) + position * kP2pSlotBytes;
}

}  // namespace

void P2p::collect_freed(int peer) {
  Pair& pair = pair_of(peer);
  while (pair.slots_freed != pair.slots_filled &&
         inbox_of(peer).take_notification(p2p_tag(P2pTag::kSlotFreed, pair.slots_freed))) {
    ++pair.slots_freed;
  }
}

Result<bool> P2p::send_local(Transfer& transfer) {
  const int peer = transfer.call.peer;
  Pair& pair = pair_of(peer);
  collect_freed(peer);
  if (transfer.stage == Stage::kInFlight) {
    if (static_cast<int32_t>(pair.slots_freed - transfer.last_slot) <= 0) return false;
    transfer.stage = Stage::kDone;
    return true;
  }
  if (pair.slots_filled - pair.slots_freed == kP2pSlots) return false;
  const uint64_t bytes = transfer.call.bytes();
  std::byte* slot =
      slot_of(*services_.local, local_index(services_.rank), local_index(peer), pair.slots_filled);
  const bool read_source = bytes > kSlotPayload && services_.direct;
  const uint64_t part = read_source ? bytes : std::min(bytes - transfer.moved, kSlotPayload);
  const P2pSlotHeader header{
      .sequence = transfer.sequence,
      .read_source = read_source,
      .fingerprint = transfer.call.fingerprint(),
      .bytes = part,
      .source = read_source ? LocalDomain::handle_of(transfer.call.buffer, bytes) : BufferHandle{}};
  std::memcpy(slot, &header, sizeof header);
  if (!read_source && part > 0) {
    std::memcpy(slot + kP2pHeaderBytes, transfer.call.buffer + transfer.moved, part);
  }
  if (!services_.local->notify(local_index(peer),
                               p2p_tag(P2pTag::kSlotFilled, pair.slots_filled))) {
    return false;
  }
  transfer.last_slot = pair.slots_filled++;
  transfer.moved += part;
  if (transfer.moved == bytes) transfer.stage = read_source ? Stage::kInFlight : Stage::kDone;
  return true;
}

Result<bool> P2p::receive_local(Transfer& transfer) {
  const int peer = transfer.call.peer;
  Pair& pair = pair_of(peer);
  if (!slot_taken_[static_cast<size_t>(peer)]) {
    const uint64_t tag = p2p_tag(P2pTag::kSlotFilled, pair.slots_read);
    if (!inbox_of(peer).take_notification(tag)) return false;
    const std::byte* slot =
        slot_of(*services_.local, local_index(peer), local_index(services_.rank), pair.slots_read);
    RAILCCL_TRY(take_from_slot(transfer, slot));
    slot_taken_[static_cast<size_t>(peer)] = true;
  }
  if (!services_.local->notify(local_index(peer), p2p_tag(P2pTag::kSlotFreed, pair.slots_read))) {
    return true;
  }
  slot_taken_[static_cast<size_t>(peer)] = false;
  ++pair.slots_read;
  if (transfer.moved == transfer.call.bytes()) transfer.stage = Stage::kDone;
  return true;
}

Status P2p::take_from_slot(Transfer& transfer, const std::byte* slot) {
  P2pSlotHeader header;
  std::memcpy(&header, slot, sizeof header);
  RAILCCL_TRY(mismatch(transfer, header.fingerprint));
  if (header.sequence != transfer.sequence ||
      header.bytes > transfer.call.bytes() - transfer.moved) {
    return error(Code::kInternalError, "slot of rank {} holds part of transfer {}, expected {}",
                 transfer.call.peer, header.sequence, transfer.sequence);
  }
  std::byte* target = transfer.call.buffer + transfer.moved;
  transfer.moved += header.bytes;
  if (header.bytes == 0) return Status::ok();
  if (header.read_source == 0) {
    std::memcpy(target, slot + kP2pHeaderBytes, header.bytes);
    return Status::ok();
  }
  const int index = local_index(transfer.call.peer);
  const std::byte* source = services_.local->map(index, header.source);
  if (source == nullptr) {
    return services_.local->copy_from(index, header.source, 0, target, header.bytes);
  }
  std::byte* dsts[] = {target};
  services_.compute->submit(CopyWork{.dsts = dsts,
                                     .src = source,
                                     .bytes = header.bytes,
                                     .streaming = header.bytes >= services_.streaming_bytes});
  return Status::ok();
}

}  // namespace railccl
