// What comes in: the link's side of rail events, notes and frames.
#include "transport/checksum.h"
#include "transport/link_impl.h"

namespace railccl {

void LinkImpl::on_rail_event(int index, const RailEvent& event, TimeNs now) {
  now_ = now;
  if (index < 0 || static_cast<size_t>(index) >= pairs_.size()) return;
  const bool of_data =
      event.kind == RailEvent::Kind::kPutDone || event.kind == RailEvent::Kind::kNotification;
  if (of_data) {
    stir();
  } else {
    stir_health();
  }
  LinkPair& pair = pairs_[static_cast<size_t>(index)];
  const bool closing = ended_ || peer_gone_;
  switch (event.kind) {
    case RailEvent::Kind::kConnected:
      if (closing) break;
      failover_->on_connected(pair, now);
      report_connected();
      break;
    case RailEvent::Kind::kPutDone:
      on_put_done(pair, event, now);
      break;
    case RailEvent::Kind::kNotification:
      if (!ended_) on_note(pair, event, now);
      break;
    case RailEvent::Kind::kFailed:
      if (!closing) failover_->fail(pair, event.status, now);
      break;
    case RailEvent::Kind::kClosed:
      if (closing) {
        pair.on_closed();
      } else {
        failover_->on_closed(pair, now);
      }
      break;
    case RailEvent::Kind::kRailDown:
    case RailEvent::Kind::kRailUp:
      on_port_event(pair.local_rail(), event, now);
      break;
  }
  report_finished();
}

void LinkImpl::on_port_event(int local_rail, const RailEvent& event, TimeNs now) {
  now_ = now;
  stir_health();
  if (ended_ || peer_gone_) return;
  if (event.kind == RailEvent::Kind::kRailUp) failover_->on_port_up(local_rail, now);
  if (event.kind != RailEvent::Kind::kRailDown) return;
  for (LinkPair& pair : pairs_) {
    if (pair.local_rail() == local_rail) failover_->fail(pair, event.status, now);
  }
}

void LinkImpl::set_rail(int local_rail, bool on, TimeNs now) {
  now_ = now;
  stir_health();
  if (!ended_ && !peer_gone_) failover_->set_rail(local_rail, on, now);
}

void LinkImpl::on_put_done(LinkPair& pair, const RailEvent& event, TimeNs now) {
  const bool ok = event.status.is_ok();
  switch (token_kind(event.token)) {
    case TokenKind::kChunk:
      sender_->on_chunk_done(pair, event, now);
      break;
    case TokenKind::kMessage:
      messages_->on_put_done(pair, event, now);
      break;
    case TokenKind::kNote:
      pair.on_small_done(
          {.posted_at = token_time(event.token), .held_back = event.held_back, .ok = ok}, now);
      break;
  }
  if (ended_ || peer_gone_) return;
  if (ok) {
    failover_->on_completion(pair, now);
  } else {
    failover_->fail(pair, event.status, now);
  }
}

void LinkImpl::on_note(LinkPair& pair, const RailEvent& event, TimeNs now) {
  const Result<wire::NoteHeader> header = wire::decode_header(event.notification);
  if (!header) {
    fail(header.error().with_context(fmt::format("rank {} sent", options_.peer)), now);
    return;
  }
  failover_->on_sign_of_life(now);
  Status status;
  switch (header->kind) {
    case wire::NoteKind::kChunk:
      status = on_chunk(pair, *header, event);
      break;
    case wire::NoteKind::kMessage:
      status = on_message(pair, *header, event, now);
      break;
    case wire::NoteKind::kAck:
      status = on_ack(wire::decode_ack(event.notification), now);
      break;
    case wire::NoteKind::kRailDown:
      status = on_frame(wire::RailDownFrame{wire::decode_rail_down(event.notification)}, now);
      break;
    case wire::NoteKind::kFenced: {
      const wire::FencedNote note = wire::decode_fenced(event.notification);
      status = check_pair(note.rail);
      if (status.is_ok()) failover_->on_fenced(note);
      stir_health();
      break;
    }
    case wire::NoteKind::kProbe:
      on_probe(pair, *header, now);
      break;
    case wire::NoteKind::kEcho:
      if (header->epoch == pair.epoch()) failover_->on_echo(pair, header->sequence, now);
      report_connected();
      stir_health();
      break;
  }
  if (!status.is_ok()) fail(status, now);
}

// Chunks count when they belong to the pair's epoch: of an older one nothing is believed any more.
Status LinkImpl::on_chunk(LinkPair& pair, const wire::NoteHeader& header, const RailEvent& event) {
  if (header.epoch != pair.epoch()) return Status::ok();
  const wire::ChunkNote chunk = wire::decode_chunk(event.notification, event.bytes);
  if (is_damaged(header, chunk, event)) {
    on_damaged(pair,
               fmt::format("put {}, {} bytes at {}", header.sequence, event.bytes, chunk.offset));
    return Status::ok();
  }
  if ((header.flags & wire::kWholeFlag) != 0) RAILCCL_TRY(on_ack(chunk.ack, now_));
  switch (record_.on_chunk(header.sequence, chunk, event.bytes)) {
    case ReplayRecord::Arrival::kDuplicate:
      break;
    case ReplayRecord::Arrival::kPart:
      pair.on_chunk_received(event.bytes, now_);
      break;
    case ReplayRecord::Arrival::kWhole:
      pair.on_chunk_received(event.bytes, now_);
      pair.trace(TraceKind::kArrived, chunk.tag, chunk.total, now_);
      ack_due_ = true;
      if (chunk.total <= kUrgentBytes) follow(pair);
      sink_.on_notification(options_.peer, chunk.tag);
      break;
    case ReplayRecord::Arrival::kRefused:
      return error(Code::kPeerFailed,
                   "rank {} sent a chunk that contradicts others: put {}, {} bytes at {} of {}: it "
                   "is broken or runs another version",
                   options_.peer, header.sequence, event.bytes, chunk.offset, chunk.total);
  }
  return Status::ok();
}

// Of one that is here already nothing is asked: its memory may be in use again.
bool LinkImpl::is_damaged(const wire::NoteHeader& header, const wire::ChunkNote& chunk,
                          const RailEvent& event) const {
  return (header.flags & wire::kCheckedFlag) != 0 && event.data != nullptr &&
         record_.is_awaited(header.sequence, chunk, event.bytes) &&
         crc32c({event.data, event.bytes}) != chunk.crc;
}

void LinkImpl::follow(const LinkPair& pair) {
  if (options_.self < options_.peer || pair.followed()) return;
  for (LinkPair& each : pairs_) each.set_followed(&each == &pair);
}

// As if it had not come: the fence of its rail finds it missing, and the peer sends it again.
void LinkImpl::on_damaged(LinkPair& pair, std::string_view what) {
  pair.count_damaged();
  failover_->fail(pair,
                  error(Code::kRailFailed,
                        "data from rank {} came damaged ({}): its CRC32C is wrong; look at this "
                        "rail's cable, adapters and memory on both hosts",
                        options_.peer, what),
                  now_);
}

Status LinkImpl::on_message(LinkPair& pair, const wire::NoteHeader& header, const RailEvent& event,
                            TimeNs now) {
  if (header.epoch != pair.epoch()) return Status::ok();
  const wire::MessageNote note = wire::decode_message(event.notification);
  if (messages_->is_damaged(header, note, event)) {
    on_damaged(pair, fmt::format("message {} of {} bytes", header.sequence, note.bytes));
    return Status::ok();
  }
  follow(pair);
  RAILCCL_TRY(on_ack(note.ack, now));
  RAILCCL_TRY(messages_->on_arrived(pair, header, note, event));
  while (!ended_) {
    const std::optional<LinkMessages::Incoming> message = messages_->next();
    if (!message) break;
    if ((message->flags & wire::kLinkControlFlag) != 0) {
      RAILCCL_ASSIGN(const wire::Frame frame, wire::decode_frame(message->bytes));
      RAILCCL_TRY(on_frame(frame, now));
    } else {
      sink_.on_message(options_.peer, message->bytes);
    }
  }
  return Status::ok();
}

Status LinkImpl::on_ack(const wire::AckNote& ack, TimeNs now) {
  RAILCCL_TRY(sender_->on_ack(ack, now));
  return messages_->on_ack(ack, now);
}

// The prober may wait for an acknowledgement that was lost, so it gets a new one.
void LinkImpl::on_probe(LinkPair& pair, const wire::NoteHeader& header, TimeNs now) {
  ack_due_ = true;
  if (!pair.connected()) return;
  // Lost to back-pressure, it is asked for again.
  (void)pair.post_note(encode(pair.header(wire::NoteKind::kEcho, header.sequence)), now).is_ok();
}

Status LinkImpl::check_pair(const wire::PairEpoch& rail) const {
  if (rail.pair < pairs_.size()) return Status::ok();
  return error(Code::kPeerFailed, "rank {} speaks of rail pair {}, there are {}", options_.peer,
               rail.pair, pairs_.size());
}

Status LinkImpl::on_frame(const wire::Frame& frame, TimeNs now) {
  stir_health();
  if (const auto* down = std::get_if<wire::RailDownFrame>(&frame)) {
    RAILCCL_TRY(check_pair(down->rail));
    failover_->on_rail_down(down->rail, now);
  } else if (const auto* verdict = std::get_if<wire::VerdictFrame>(&frame)) {
    RAILCCL_TRY(check_pair(verdict->rail));
    failover_->on_verdict(*verdict, now);
  } else if (const auto* offer = std::get_if<wire::OfferFrame>(&frame)) {
    RAILCCL_TRY(check_pair(offer->rail));
    failover_->on_offer(*offer);
  } else if (const auto* answer = std::get_if<wire::AnswerFrame>(&frame)) {
    RAILCCL_TRY(check_pair(answer->rail));
    failover_->on_answer(*answer, now);
  } else if (std::holds_alternative<wire::PingFrame>(frame)) {
    pong_due_ = true;
  } else if (std::holds_alternative<wire::PongFrame>(frame)) {
    failover_->on_sign_of_life(now);
  } else if (const auto* goodbye = std::get_if<wire::GoodbyeFrame>(&frame)) {
    RAILCCL_TRY(on_ack(goodbye->ack, now));
    on_goodbye();
  } else if (const auto* change = std::get_if<wire::SwitchFrame>(&frame)) {
    RAILCCL_TRY(check_pair({.pair = change->pair}));
    failover_->on_switched(*change, now);
  }
  return Status::ok();
}

void LinkImpl::on_goodbye() {
  peer_gone_ = true;
  for (LinkPair& pair : pairs_) pair.close();
}

Status LinkImpl::on_control_path(std::span<const std::byte> bytes, TimeNs now) {
  now_ = now;
  if (ended_ || peer_gone_) return Status::ok();
  const Result<wire::Frame> frame = wire::decode_frame(bytes);
  if (!frame) {
    return frame.error().with_context(
        fmt::format("rank {} sent over the control path", options_.peer));
  }
  const Status status = on_frame(*frame, now);
  report_finished();
  return status;
}

}  // namespace railccl
