// Executor: what comes from the peers: ready messages, small data, acknowledgements (see
// executor.h).
#include <algorithm>
#include <cstring>

#include "src/core/executor.h"

namespace railccl {

// What came before this rank began the operation must be of the same call. A peer that is ahead has
// filled the queues with hundreds of later operations, which are not looked at.
Status Executor::check_arrived(int peer) const {
  Inbox& inbox = inbox_of(peer);
  for (const Inbox::Ready& ready : inbox.ready()) {
    if (ahead(ready.sequence) > 0) break;
    RAILCCL_TRY(check(peer, ready.sequence, ready.fingerprint));
  }
  for (const Inbox::Data& data : inbox.data()) {
    if (ahead(data.header.sequence) > 0) break;
    RAILCCL_TRY(check(peer, data.header.sequence, data.header.fingerprint));
  }
  return Status::ok();
}

Status Executor::check(int peer, uint64_t sequence, const Fingerprint& fingerprint) const {
  if (stage_ == Stage::kIdle || ahead(static_cast<uint32_t>(sequence)) != 0) return Status::ok();
  const Fingerprint mine = call_.fingerprint();
  if (mine == fingerprint) return Status::ok();
  return error(Code::kMismatch,
               "operation {} of the communicator differs between ranks: rank {} called {}, rank {} "
               "called {}",
               sequence_, services_.rank, to_string(mine), peer, to_string(fingerprint));
}

// Late ones, of operations that are over, may come in the middle of this one.
const Inbox::Ready* Executor::find_ready(int peer) {
  const auto& queue = inbox_of(peer).ready();
  const auto found = std::ranges::find_if(
      queue, [this](const Inbox::Ready& ready) { return ahead(ready.sequence) >= 0; });
  return found != queue.end() && ahead(found->sequence) == 0 ? &*found : nullptr;
}

// Of operations that are over: a peer may have announced itself though nothing large was put to it.
void Executor::forget_old_ready(int peer) {
  auto& queue = inbox_of(peer).ready();
  while (!queue.empty() && ahead(queue.front().sequence) < 0) queue.pop_front();
}

Result<bool> Executor::owners_ready(std::span<const Slice> dsts, std::span<const Slice> srcs) {
  for (const std::span<const Slice> slices : {dsts, srcs}) {
    for (const Slice& slice : slices) {
      if (slice.owner == kSelf) continue;
      RAILCCL_ASSIGN(const bool ready, local_peer_ready(slice.owner));
      if (!ready) return false;
    }
  }
  return true;
}

// Whether the peer has begun this operation; an error when it has begun another one.
Result<bool> Executor::local_peer_ready(int peer) {
  const int index = services_.layout->local_index[static_cast<size_t>(peer)];
  const ReadyRecord* ready = services_.local->ready(index, sequence_);
  if (ready == nullptr) {
    not_ready_ = peer;
    if (const auto small = services_.local->small_called(index, sequence_)) {
      RAILCCL_TRY(check(peer, sequence_, unpack_small(*small)));
    }
    return false;
  }
  RAILCCL_TRY(check(peer, sequence_, {ready->fingerprint[0], ready->fingerprint[1]}));
  return true;
}

void Executor::on_put_done(uint64_t token) {
  const uint64_t slot = put_slot(token);
  if (stage_ == Stage::kIdle || slot >= slots_.size()) return;
  if (slots_[slot].unacknowledged > 0) --slots_[slot].unacknowledged;
}

bool Executor::on_small_data(int peer, const MessageHeader& header,
                             std::span<const std::byte> body) {
  const bool running = stage_ == Stage::kRun || stage_ == Stage::kCollectCredits;
  const bool current = running && ahead(header.sequence) == 0;
  if (!current || !place_small_data(header, body)) return false;
  inbox_of(peer).add_notification(header.tag);
  return true;
}

// False: its piece has not begun, so its scratch slot may still be in use.
bool Executor::place_small_data(const MessageHeader& header, std::span<const std::byte> body) {
  if (body.empty()) return true;
  const uint64_t index = header.tag >> kTagBits & ((uint64_t{1} << kPieceBits) - 1);
  const auto piece = std::find_if(slots_.begin(), slots_.end(), [&](const Piece& candidate) {
    return candidate.active && candidate.index == index;
  });
  if (piece == slots_.end()) return false;
  std::byte* base = nullptr;
  uint64_t limit = 0;
  if (header.buffer == static_cast<uint8_t>(BufferId::kScratch)) {
    base = services_.scratch.own;
    limit = services_.scratch.bytes;
  } else {
    base = call_.output;
    limit = output_bytes(call_, services_.rank, services_.layout->ranks());
  }
  if (header.offset > limit || body.size() > limit - header.offset) {
    bad_data_ = true;
    return true;
  }
  std::memcpy(base + header.offset, body.data(), body.size());
  return true;
}

void Executor::drain_kept_data() {
  for (const int peer : plan_->remote_senders) {
    auto& queue = inbox_of(peer).data();
    for (auto entry = queue.begin(); entry != queue.end() && ahead(entry->header.sequence) <= 0;) {
      const bool current = ahead(entry->header.sequence) == 0;
      if (!current || !place_small_data(entry->header, entry->body)) {
        ++entry;
        continue;
      }
      inbox_of(peer).add_notification(entry->header.tag);
      services_.peers->consumed(peer, entry->body.size());
      entry = queue.erase(entry);
    }
  }
}

}  // namespace railccl
