#include "transport/link_messages.h"

#include <algorithm>
#include <cstring>

#include "transport/checksum.h"

namespace railccl {
namespace {

constexpr uint64_t align(uint64_t bytes) {
  return (bytes + wire::kMessageAlignment - 1) / wire::kMessageAlignment * wire::kMessageAlignment;
}
// Two of the largest messages must fit, wherever the first ends.
constexpr uint32_t kMinRingBytes = 3 * kMaxMessageBytes;

Result<RegisteredBuffer> register_on(std::span<std::byte> memory, std::span<Rail* const> rails,
                                     const LinkPairs& pairs, bool by_view) {
  RegisteredBuffer buffer;
  buffer.region = {.address = memory.data(), .bytes = memory.size(), .by_view = by_view};
  buffer.on_rail.resize(rails.size());
  for (const LinkPair& pair : pairs) {
    const auto rail = static_cast<size_t>(pair.local_rail());
    if (buffer.on_rail[rail] != nullptr) continue;
    auto registration = rails[rail]->register_memory(buffer.region);
    if (!registration) {
      return Error(registration.error().with_context(
          fmt::format("message ring on rail {}", rails[rail]->info().name)));
    }
    buffer.on_rail[rail] = std::move(*registration);
  }
  return buffer;
}

}  // namespace

LinkMessages::LinkMessages(const LinkOptions& options, LinkPairs& pairs, LinkReceipts& receipts)
    : peer_(options.peer),
      check_(options.check),
      pairs_(pairs),
      receipts_(receipts),
      ring_bytes_(options.message_ring_bytes / wire::kMessageAlignment * wire::kMessageAlignment),
      memory_(size_t{ring_bytes_} * 2),
      outbox_(std::span(memory_).first(ring_bytes_)),
      inbox_(std::span(memory_).last(ring_bytes_)) {}

Result<std::unique_ptr<LinkMessages>> LinkMessages::create(const LinkOptions& options,
                                                           std::span<Rail* const> rails,
                                                           LinkPairs& pairs,
                                                           LinkReceipts& receipts) {
  if (options.message_ring_bytes < kMinRingBytes) {
    return error(Code::kInvalidArgument, "a message ring of {} bytes: at least {}",
                 options.message_ring_bytes, kMinRingBytes);
  }
  std::unique_ptr<LinkMessages> messages(new LinkMessages(options, pairs, receipts));
  RAILCCL_TRY(messages->register_rings(rails));
  return messages;
}

Status LinkMessages::register_rings(std::span<Rail* const> rails) {
  RAILCCL_ASSIGN(outbox_registered_, register_on(outbox_, rails, pairs_, false));
  RAILCCL_ASSIGN(inbox_registered_, register_on(inbox_, rails, pairs_, true));
  return Status::ok();
}

uint64_t LinkMessages::inbox_key(int local_rail) const {
  return inbox_registered_.on_rail[static_cast<size_t>(local_rail)]->key();
}

Status LinkMessages::connect(const wire::LinkAddress& peer) {
  if (peer.ring_bytes < kMinRingBytes) {
    return error(Code::kPeerFailed, "rank {} offers a message ring of {} bytes: at least {}", peer_,
                 peer.ring_bytes, kMinRingBytes);
  }
  ring_bytes_ = std::min(
      ring_bytes_,
      static_cast<uint32_t>(peer.ring_bytes / wire::kMessageAlignment * wire::kMessageAlignment));
  for (const wire::LinkAddress::Pair& pair : peer.pairs) peer_keys_.push_back(pair.ring_key);
  return Status::ok();
}

// --- Sending ---------------------------------------------------------------------------------

// Where a message of `bytes` begins: a message is contiguous, so the end of the ring may stay
// empty.
uint64_t LinkMessages::place(uint64_t bytes) const {
  const uint64_t position = end_out_ % ring_bytes_;
  return position + bytes <= ring_bytes_ ? end_out_ : end_out_ + ring_bytes_ - position;
}

Status LinkMessages::send(const Parts& parts) {
  const size_t bytes = parts.header.size() + parts.body.size();
  if (bytes > kMaxMessageBytes) {
    return error(Code::kInvalidArgument, "a message of {} bytes: at most {}", bytes,
                 kMaxMessageBytes);
  }
  const uint64_t taken = align(std::max<size_t>(bytes, 1));
  const uint64_t begin = place(taken);
  const uint64_t end = begin + taken;
  const uint64_t oldest = out_.empty() ? begin : out_.front().begin;
  if (peer_keys_.empty() || end - oldest > ring_bytes_ ||
      out_.end() >= consumed_out_ + wire::kMessageWindow) {
    return Status::back_pressure();
  }
  std::byte* target = outbox_.data() + begin % ring_bytes_;
  if (!parts.header.empty()) std::memcpy(target, parts.header.data(), parts.header.size());
  if (!parts.body.empty()) {
    std::memcpy(target + parts.header.size(), parts.body.data(), parts.body.size());
  }
  Outgoing& message = out_.push_back();
  message = {
      .begin = begin, .end = end, .bytes = static_cast<uint32_t>(bytes), .flags = parts.flags};
  end_out_ = end;
  return Status::ok();
}

bool LinkMessages::pump(TimeNs now) {
  blocked_ = false;
  bool did = false;
  next_out_ = std::max(next_out_, out_.first());
  while (next_out_ != out_.end()) {
    if (out_[next_out_].state == Outgoing::State::kQueued) {
      if (!post(next_out_, now)) break;
      did = true;
    }
    ++next_out_;
  }
  return did;
}

bool LinkMessages::post(uint64_t sequence, TimeNs now) {
  LinkPair* pair = shortest_way(pairs_);
  if (pair == nullptr) {
    blocked_ = true;
    return false;
  }
  Outgoing& message = out_[sequence];
  const uint64_t position = message.begin % ring_bytes_;
  const auto rail = static_cast<size_t>(pair->local_rail());
  wire::NoteHeader header = pair->header(wire::NoteKind::kMessage, sequence);
  header.flags = message.flags;
  wire::MessageNote note{.position = static_cast<uint32_t>(position),
                         .bytes = message.bytes,
                         .ack = receipts_.acknowledgement()};
  if (check_) {
    header.flags |= wire::kCheckedFlag;
    note.crc = crc32c(outbox_.subspan(position, message.bytes));
  }
  const Put put{.token = message_token(sequence),
                .source = outbox_registered_.on_rail[rail].get(),
                .source_offset = position,
                .bytes = message.bytes,
                .remote_key = peer_keys_[static_cast<size_t>(pair->index())],
                .remote_offset = position,
                .notification = encode(header, note)};
  if (!pair->post_small(put, now).is_ok()) return false;
  message.state = Outgoing::State::kInFlight;
  message.pair = static_cast<uint16_t>(pair->index());
  message.epoch = pair->epoch();
  message.posted_at = now;
  receipts_.on_carried(note.ack);
  return true;
}

void LinkMessages::on_put_done(LinkPair& pair, const RailEvent& event, TimeNs now) {
  const uint64_t sequence = widen(token_sequence(event.token), out_.first());
  if (!out_.contains(sequence)) return;
  Outgoing& message = out_[sequence];
  if (message.state != Outgoing::State::kInFlight) return;
  message.state = event.status.is_ok() ? Outgoing::State::kCompleted : Outgoing::State::kLost;
  moved_at_ = now;
  pair.on_small_done({.bytes = message.bytes,
                      .posted_at = message.posted_at,
                      .held_back = event.held_back,
                      .ok = event.status.is_ok()},
                     now);
  release();
}

// A place is used again only when its message was consumed and nothing may still write it there.
void LinkMessages::release() {
  while (!out_.empty() && out_.first() < consumed_out_ && out_.front().posted()) {
    pairs_[out_.front().pair].count_message_sent(out_.front().bytes);
    out_.pop_front();
  }
}

Status LinkMessages::on_ack(const wire::AckNote& ack, TimeNs now) {
  const uint64_t consumed = widen(ack.messages, consumed_out_);
  if (consumed <= consumed_out_) return Status::ok();
  if (consumed > out_.end()) {
    return error(Code::kPeerFailed,
                 "rank {} consumed {} messages, {} were sent: it is broken or runs another version",
                 peer_, consumed, out_.end());
  }
  consumed_out_ = consumed;
  moved_at_ = now;
  release();
  return Status::ok();
}

void LinkMessages::on_fenced(const wire::PairEpoch& rail, const wire::MessagesArrived& arrived) {
  const uint64_t next = widen(arrived.next, consumed_out_);
  for (uint64_t sequence = std::max(out_.first(), consumed_out_); sequence != out_.end();
       ++sequence) {
    Outgoing& message = out_[sequence];
    if (message.state == Outgoing::State::kQueued || message.pair != rail.pair ||
        message.epoch != rail.epoch) {
      continue;
    }
    const uint64_t bit = sequence - next - 1;
    if (sequence < next || (sequence > next && bit < 64 && (arrived.above >> bit & 1) != 0)) {
      if (message.state == Outgoing::State::kLost) message.state = Outgoing::State::kCompleted;
      continue;
    }
    message.state = Outgoing::State::kQueued;
    next_out_ = std::min(next_out_, sequence);
  }
}

bool LinkMessages::unacknowledged_since(TimeNs since) const {
  const uint64_t sequence = std::max(out_.first(), consumed_out_);
  return sequence < out_.end() && moved_at_ < since && out_[sequence].posted();
}

bool LinkMessages::in_flight() const {
  const uint64_t first = std::max(out_.first(), consumed_out_);
  for (uint64_t sequence = first; sequence < out_.end(); ++sequence) {
    if (out_[sequence].state != Outgoing::State::kCompleted) return true;
  }
  return false;
}

uint32_t LinkMessages::oldest_carrier() const {
  const uint64_t sequence = std::max(out_.first(), consumed_out_);
  if (sequence >= out_.end()) return 0;
  const Outgoing& message = out_[sequence];
  return pairs_[message.pair].epoch() == message.epoch ? uint32_t{1} << message.pair : 0;
}

// --- Receiving -------------------------------------------------------------------------------

Status LinkMessages::on_arrived(LinkPair& pair, const wire::NoteHeader& header,
                                const wire::MessageNote& note, const RailEvent& event) {
  const size_t bytes = event.bytes;
  const uint64_t sequence = widen(header.sequence, next_in_);
  const auto ahead = static_cast<int64_t>(sequence - next_in_);
  if (!in_ring(note) || note.bytes != bytes || bytes > kMaxMessageBytes ||
      ahead >= static_cast<int64_t>(wire::kMessageWindow)) {
    return error(Code::kPeerFailed,
                 "rank {} sent message {} with {} bytes at {} while {} is next: it is broken or "
                 "runs another version",
                 peer_, header.sequence, note.bytes, note.position, next_in_);
  }
  if (ahead < 0) return Status::ok();
  Arrived& slot = in_[sequence % in_.size()];
  if (slot.here) return Status::ok();
  pair.count_message_received(bytes);
  std::span<const std::byte> data = shown(note, event);
  std::byte* const kept = inbox_.data() + note.position;
  if (ahead > 0 && bytes > 0 && data.data() != kept) {
    std::memmove(kept, data.data(), bytes);  // a peer may lie about where it has put them
    data = {kept, bytes};
  }
  slot = {.here = true, .flags = header.flags, .bytes = data};
  return Status::ok();
}

std::span<const std::byte> LinkMessages::shown(const wire::MessageNote& note,
                                               const RailEvent& event) const {
  if (event.data == nullptr) return inbox_.subspan(note.position, note.bytes);
  return {event.data, event.bytes};
}

bool LinkMessages::is_damaged(const wire::NoteHeader& header, const wire::MessageNote& note,
                              const RailEvent& event) const {
  const uint64_t sequence = widen(header.sequence, next_in_);
  const bool is_new = sequence >= next_in_ && !in_[sequence % in_.size()].here;
  if ((header.flags & wire::kCheckedFlag) == 0 || !is_new || !in_ring(note)) return false;
  return crc32c(shown(note, event)) != note.crc;
}

std::optional<LinkMessages::Incoming> LinkMessages::next() {
  if (consumed_in_ != next_in_) {
    consumed_in_ = next_in_;
    bytes_since_credit_ += align(std::max<uint64_t>(incoming_bytes_, 1));
  }
  Arrived& slot = in_[next_in_ % in_.size()];
  if (!slot.here) return std::nullopt;
  slot.here = false;
  ++next_in_;
  incoming_bytes_ = slot.bytes.size();
  return Incoming{.bytes = slot.bytes, .flags = slot.flags};
}

wire::MessagesArrived LinkMessages::arrived() const {
  wire::MessagesArrived arrived{.next = static_cast<uint32_t>(next_in_)};
  for (uint64_t bit = 0; bit + 1 < in_.size(); ++bit) {
    if (in_[(next_in_ + 1 + bit) % in_.size()].here) arrived.above |= uint64_t{1} << bit;
  }
  return arrived;
}

// What stays untold, the end of the ring that a message leaves empty and that message must fit
// together: else the peer waits for credit, and this side for more to tell.
bool LinkMessages::credit_due() const {
  const uint64_t most_untold =
      std::min<uint64_t>(ring_bytes_ / 2, ring_bytes_ - 2 * align(kMaxMessageBytes));
  return consumed_in_ - credited_in_ >= wire::kMessageWindow / 2 ||
         bytes_since_credit_ >= most_untold;
}

}  // namespace railccl
