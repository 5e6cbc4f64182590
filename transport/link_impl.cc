#include "transport/link_impl.h"

#include <algorithm>
#include <string>
#include <utility>

#include "src/base/log.h"

namespace railccl {
namespace {

constexpr size_t kMaxQueuedFrames = 64;
// At most, and in parts of the rail timeout.
constexpr TimeNs kLongestRest = kMillisecond;
constexpr TimeNs kRestsPerTimeout = 8;
constexpr TimeNs kLongestHealthInterval = 100 * kMicrosecond;  // while data moves
constexpr TimeNs kHealthIntervalsPerTimeout = 32;
// Of all rails of a link, with nothing got through in between.
constexpr uint32_t kHopelessFailures = 8;

}  // namespace

// --- Life ----------------------------------------------------------------------------------------

Status LinkImpl::init(std::span<Rail* const> rails, uint64_t endpoint_tag_base) {
  RAILCCL_TRY(open_pairs(rails, endpoint_tag_base));
  RAILCCL_ASSIGN(messages_, LinkMessages::create(options_, rails, pairs_, *this));
  LinkReceipts& receipts = *this;
  sender_ = std::make_unique<LinkSender>(options_, pairs_, receipts);
  failover_ = std::make_unique<LinkFailover>(options_, LinkFailover::Parts{.pairs = pairs_,
                                                                           .sender = *sender_,
                                                                           .messages = *messages_,
                                                                           .record = record_,
                                                                           .out = *this});
  return Status::ok();
}

Status LinkImpl::open_pairs(std::span<Rail* const> rails, uint64_t endpoint_tag_base) {
  std::vector<std::string> adapters;
  pairs_.reserve(options_.pairs.size());
  for (const LinkOptions::Pair& rails_of_pair : options_.pairs) {
    Rail* rail = rails[static_cast<size_t>(rails_of_pair.local_rail)];
    const auto index = static_cast<int>(pairs_.size());
    const std::string& adapter = rail->info().adapter;
    const auto known = std::find(adapters.begin(), adapters.end(), adapter);
    const auto number = static_cast<int>(known - adapters.begin());
    if (known == adapters.end()) adapters.push_back(adapter);
    pairs_.emplace_back(
        LinkPair::Config{.index = index,
                         .rails = rails_of_pair,
                         .rail = rail,
                         .endpoint_tag = endpoint_tag_base + static_cast<uint64_t>(index),
                         .rail_timeout_ns = options_.rail_timeout_ns,
                         .rate_window_ns = options_.rate_window_ns,
                         .rate_memory_ns = options_.rate_memory_ns,
                         .slow_after_ns = options_.slow_after_ns,
                         .slow_after_bytes = options_.slow_after_bytes,
                         .sample_every_ns = options_.sample_every_ns,
                         .sample_every_bytes = options_.sample_every_bytes,
                         .adapter = adapter.empty() ? -1 : number,
                         .peer = options_.peer,
                         .trace_source = options_.trace_source});
    // A port that is down now may come up: such a pair begins as one that has failed.
    not_opened_.push_back(pairs_.back().open(0));
  }
  return Status::ok();
}

std::vector<std::byte> LinkImpl::address() const {
  wire::LinkAddress address{.ring_bytes = options_.message_ring_bytes};
  for (const LinkPair& pair : pairs_) {
    address.pairs.push_back(
        {.ring_key = messages_->inbox_key(pair.local_rail()), .endpoint = pair.address()});
  }
  return encode(address);
}

Status LinkImpl::connect(std::span<const std::byte> peer_address, TimeNs now) {
  now_ = now;
  stir_health();
  // The peer's address may come when an error has ended the link already.
  if (ended_) return Status::ok();
  if (has_peer_)
    return error(Code::kInvalidUsage, "the link to rank {} has its peer", options_.peer);
  RAILCCL_ASSIGN(const wire::LinkAddress peer, wire::decode_address(peer_address));
  if (peer.pairs.size() != pairs_.size()) {
    return error(Code::kMismatch,
                 "rank {} plans {} rail pairs to rank {}, rank {} plans {}: set the same rails on "
                 "all nodes",
                 options_.self, pairs_.size(), options_.peer, options_.peer, peer.pairs.size());
  }
  RAILCCL_TRY(messages_->connect(peer));
  has_peer_ = true;
  stuck_since_ = now;
  best_tier_until_ = now + options_.rail_timeout_ns;
  for (LinkPair& pair : pairs_) {
    if (pair.state() != RailState::kProbing) continue;
    const auto index = static_cast<size_t>(pair.index());
    const Status status =
        not_opened_[index].is_ok() ? pair.connect(peer.pairs[index].endpoint) : not_opened_[index];
    if (!status.is_ok()) failover_->fail(pair, status, now);
  }
  return Status::ok();
}

bool LinkImpl::idle() const {
  return ended_ || peer_gone_ || (sender_->idle() && !messages_->in_flight() && frames_.empty());
}

void LinkImpl::close(const Status& reason, TimeNs now) {
  now_ = now;
  stir_health();
  if (ended_) return;
  if (has_peer_ && !peer_gone_)
    send_on_control_path_only(wire::GoodbyeFrame{.ack = acknowledgement()});
  end(reason);
}

// After this only closing goes on.
void LinkImpl::end(const Status& reason) {
  ended_ = true;
  for (LinkPair& pair : pairs_) pair.close();
  std::vector<uint64_t>& finished = sender_->finished();
  while (reported_ < finished.size()) {
    sink_.on_put_done(options_.peer, finished[reported_++], Status::ok());
  }
  for (const uint64_t token : sender_->abandon()) sink_.on_put_done(options_.peer, token, reason);
}

void LinkImpl::fail(const Status& reason, TimeNs now) {
  if (ended_) return;
  now_ = now;
  RAILCCL_WARN(Subsys::kNet, "{}: rank {}: the link to rank {} has failed: {}", options_.owner,
               options_.self, options_.peer, reason.message());
  end(reason);
  sink_.on_failed(options_.peer, reason);
}

bool LinkImpl::closed() const {
  return ended_ && std::all_of(pairs_.begin(), pairs_.end(),
                               [](const LinkPair& pair) { return pair.closed(); });
}

Status LinkImpl::usable() const {
  if (ended_ || peer_gone_) {
    return error(Code::kPeerFailed, "the link to rank {} is closed", options_.peer);
  }
  if (!has_peer_) {
    return error(Code::kInvalidUsage, "the link to rank {} is not connected", options_.peer);
  }
  return Status::ok();
}

// --- Sending -------------------------------------------------------------------------------------

Status LinkImpl::put(const LinkPut& put, TimeNs now) {
  now_ = now;
  stir();
  RAILCCL_TRY(usable());
  RAILCCL_TRY(sender_->put(put));
  sender_->pump(now);
  return Status::ok();
}

Status LinkImpl::send(std::span<const std::byte> header, std::span<const std::byte> body,
                      TimeNs now) {
  now_ = now;
  stir();
  RAILCCL_TRY(usable());
  RAILCCL_TRY(messages_->send({.header = header, .body = body}));
  messages_->pump(now);
  return Status::ok();
}

void LinkImpl::send_on_control_path_only(const wire::Frame& frame) {
  sink_.send_on_control_path(options_.peer, encode(frame));
}

void LinkImpl::send_frame(const wire::Frame& frame, TimeNs) {
  std::vector<std::byte> bytes = encode(frame);
  sink_.send_on_control_path(options_.peer, bytes);
  // Over a rail that comes back later it would be stale, and delay what is not.
  if (shortest_way(pairs_) == nullptr) return;
  // What is dropped here was sent over the control path, and is asked for again in any case.
  if (frames_.size() == kMaxQueuedFrames) frames_.pop_front();
  frames_.push_back(std::move(bytes));
}

void LinkImpl::send_note(const wire::FencedNote& fenced, TimeNs now) {
  LinkPair* pair = shortest_way(pairs_);
  if (pair == nullptr) return;
  (void)pair->post_note(encode(pair->header(wire::NoteKind::kFenced), fenced), now).is_ok();
}

void LinkImpl::send_note(const wire::PairEpoch& down, TimeNs now) {
  LinkPair* pair = shortest_way(pairs_);
  if (pair == nullptr) return;
  (void)pair->post_note(encode(pair->header(wire::NoteKind::kRailDown), down), now).is_ok();
}

bool LinkImpl::flush_frames() {
  bool did = false;
  while (!frames_.empty() && shortest_way(pairs_) != nullptr) {
    const LinkMessages::Parts parts{
        .header = frames_.front(), .body = {}, .flags = wire::kLinkControlFlag};
    const Status status = messages_->send(parts);
    if (status.code() == Code::kBackPressure) break;
    frames_.pop_front();
    did = true;
  }
  return did;
}

wire::AckNote LinkImpl::acknowledgement() const {
  wire::AckNote ack = record_.whole_puts();
  ack.messages = messages_->consumed();
  return ack;
}

void LinkImpl::on_carried(const wire::AckNote& ack) {
  answers_ = answers_ || ack_just_sent_ || ack_held_;
  if (wire::fits_on_the_way(ack)) ack_due_ = ack_held_ = false;
  messages_->credit_sent();
}

bool LinkImpl::flush_acknowledgement(TimeNs now) {
  if (!ack_due_ && !messages_->credit_due()) return false;
  if (answers_ && ack_due_ && !ack_held_) {
    ack_held_ = true;
    return true;
  }
  LinkPair* pair = shortest_way(pairs_);
  if (pair == nullptr) return false;
  const wire::NoteHeader header = pair->header(wire::NoteKind::kAck);
  if (!pair->post_note(encode(header, acknowledgement()), now).is_ok()) return false;
  // Held in vain: not again, until what is posted next could have carried it.
  if (ack_held_) answers_ = false;
  ack_due_ = ack_held_ = false;
  ack_just_sent_ = true;
  messages_->credit_sent();
  return true;
}

// --- Progress ------------------------------------------------------------------------------------

bool LinkImpl::progress(TimeNs now) {
  now_ = now;
  const bool rested = !std::exchange(awake_, false);
  if (rested && now < rest_until_) return false;
  if (rested) health_due_ = true;
  if (move(now)) {
    stir();
    return true;
  }
  // Before a longer rest the rails are looked after.
  const TimeNs longest = std::min(kLongestRest, options_.rail_timeout_ns / kRestsPerTimeout);
  rest_until_ = looked_ ? std::min(next_deadline(), now + longest) : health_at_;
  return false;
}

bool LinkImpl::move(TimeNs now) {
  looked_ = true;
  if (ended_ || peer_gone_) return progress_to_end(now);
  if (!has_peer_) return false;
  report_connected();
  ack_just_sent_ = false;
  if (std::exchange(pong_due_, false)) send_on_control_path_only(wire::PongFrame{});
  looked_ = health_due_ || now >= health_at_;
  bool did = looked_ && look_after_rails(now);
  if (ended_) return true;
  did |= messages_->pump(now);
  did |= flush_frames();
  did |= sender_->pump(now);
  did |= flush_acknowledgement(now);
  report_finished();
  return did;
}

bool LinkImpl::look_after_rails(TimeNs now) {
  health_due_ = false;
  health_at_ =
      now + std::min(kLongestHealthInterval, options_.rail_timeout_ns / kHealthIntervalsPerTimeout);
  const bool did = failover_->step(now);
  if (did) health_due_ = true;
  return check_rails_left(now) || did;
}

bool LinkImpl::progress_to_end(TimeNs now) {
  bool all_closed = true;
  for (LinkPair& pair : pairs_) {
    if (pair.closed()) pair.destroy_endpoint();
    all_closed = all_closed && pair.closed();
  }
  if (ended_ || !all_closed) return false;
  report_finished();
  if (sender_->idle()) return false;
  fail(error(Code::kPeerFailed, "rank {} closed its link to rank {} before it had everything",
             options_.peer, options_.self),
       now);
  return true;
}

// The rails are up and the peer answers, but what it was sent it never acknowledges. True: ended.
bool LinkImpl::check_acknowledged(TimeNs now) {
  const TimeNs timeout = options_.link_timeout_ns;
  if (now < timeout || failover_->answered_at() + timeout / 2 < now) return false;
  if (!sender_->unacknowledged_since(now - timeout)) return false;
  fail(error(Code::kPeerFailed,
             "rank {} has not acknowledged a put from rank {} for {} ms although it was delivered: "
             "it is broken or runs another version",
             options_.peer, options_.self, timeout / kMillisecond),
       now);
  return true;
}

// Rails that come back and fail again before anything has got through. True: ended.
bool LinkImpl::check_progress(TimeNs now) {
  const uint64_t made = sender_->progress_made() + messages_->progress_made();
  const bool idle = sender_->idle() && !messages_->unacknowledged();
  const bool waiting = !idle && made == progress_made_;
  if (waiting && now - progress_at_ < options_.link_timeout_ns) return false;
  uint32_t failures = 0;
  for (const LinkPair& pair : pairs_) failures += pair.failures();
  if (!waiting) {
    progress_made_ = made;
    progress_at_ = now;
    failures_then_ = failures;
    return false;
  }
  if (failures - failures_then_ < kHopelessFailures) return false;
  fail(error(Code::kPeerFailed,
             "the rails of rank {} to rank {} fail again and again, nothing has got through for "
             "{} ms: {}",
             options_.self, options_.peer, options_.link_timeout_ns / kMillisecond,
             describe_rails()),
       now);
  return true;
}

std::string LinkImpl::describe_rails() const {
  std::string rails;
  for (const LinkPair& pair : pairs_) {
    rails += fmt::format("{}{}, {}", rails.empty() ? "" : "; ", pair.describe(),
                         rail_state_name(pair.state()));
  }
  return rails;
}

// True when the link ended.
bool LinkImpl::check_rails_left(TimeNs now) {
  if (ended_ || check_acknowledged(now) || check_progress(now)) return true;
  const bool any = std::any_of(pairs_.begin(), pairs_.end(),
                               [](const LinkPair& pair) { return pair.postable(); });
  if (any && !sender_->blocked() && !messages_->blocked()) {
    stuck_since_ = kNever;
    return false;
  }
  if (stuck_since_ == kNever) stuck_since_ = now;
  if (now - stuck_since_ < options_.link_timeout_ns) return false;
  fail(error(Code::kPeerFailed, "rank {} has had no usable rail to rank {} for {} ms: {}",
             options_.self, options_.peer, options_.link_timeout_ns / kMillisecond,
             describe_rails()),
       now);
  return true;
}

TimeNs LinkImpl::next_deadline() const {
  if (ended_ || peer_gone_ || !has_peer_) return kNever;
  const TimeNs stuck = stuck_since_ == kNever ? kNever : stuck_since_ + options_.link_timeout_ns;
  const TimeNs connect = connected_ || best_tier(pairs_) == kNoTier ? kNever : best_tier_until_;
  return std::min({stuck, connect, failover_->next_deadline(now_)});
}

void LinkImpl::report_connected() {
  if (connected_) return;
  const int best = best_tier(pairs_);
  // What is better may need a moment longer to connect for the first time.
  const bool better_to_come =
      now_ < best_tier_until_ && std::any_of(pairs_.begin(), pairs_.end(), [&](const auto& pair) {
        return pair.tier() < best && pair.epoch() == 0 && pair.state() == RailState::kProbing;
      });
  connected_ = best != kNoTier && !better_to_come;
  if (connected_) sink_.on_connected(options_.peer);
}

void LinkImpl::report_finished() {
  std::vector<uint64_t>& finished = sender_->finished();
  if (finished.empty() || reporting_ || ended_) return;
  reporting_ = true;
  while (reported_ < finished.size() && !ended_) {
    sink_.on_put_done(options_.peer, finished[reported_++], Status::ok());
  }
  if (reported_ == finished.size()) {
    finished.clear();
    reported_ = 0;
  }
  reporting_ = false;
}

std::vector<LinkRailStats> LinkImpl::stats() const {
  std::vector<LinkRailStats> stats;
  const int best = best_tier(pairs_);
  for (const LinkPair& pair : pairs_) {
    stats.push_back(pair.stats(now_));
    stats.back().standby = pair.tier() > best && pair.postable();
  }
  return stats;
}

}  // namespace railccl
