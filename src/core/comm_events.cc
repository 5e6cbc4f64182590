// Communicator: what comes from outside: control messages, links, local peers; and what does not
// come (see communicator.h).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "src/base/log.h"
#include "src/base/trace.h"
#include "src/core/communicator.h"

namespace railccl {
namespace {

constexpr TimeNs kTracedStall = 10 * kMillisecond;  // shorter ones are every-day life
constexpr TimeNs kTellAfter = kSecond;
constexpr TimeNs kLateArrivals = 100 * kMillisecond;

// What CommMessage::kCall carries.
struct ToldCall {
  uint64_t sequence = 0;
  Fingerprint fingerprint;
};
static_assert(std::is_trivially_copyable_v<ToldCall>);

}  // namespace

void Communicator::on_control_message(int peer, std::span<const std::byte> message) {
  if (message.empty()) return;
  const auto body = message.subspan(1);
  Status status;
  switch (static_cast<CommMessage>(message[0])) {
    case CommMessage::kForPeers:
      if (peers_) status = peers_->on_control_message(peer, body, now_);
      break;
    case CommMessage::kGoodbye:
      take_goodbye(peer, body);
      break;
    case CommMessage::kSharedId:
      take_shared_id(body);
      break;
    case CommMessage::kCall:
      on_call_told(peer, body);
      break;
    case CommMessage::kRails:
      if (rail_model_) status = rail_model_->accept(peer, body);
      break;
  }
  if (!status) set_error(status.with_context(fmt::format("rank {}", peer)), true);
}

void Communicator::take_goodbye(int peer, std::span<const std::byte> bytes) {
  uint64_t operations = 0;
  if (bytes.size() != sizeof operations) return;
  std::memcpy(&operations, bytes.data(), sizeof operations);
  on_peer_left(peer, {.operations = operations});
}

void Communicator::take_shared_id(std::span<const std::byte> bytes) {
  UniqueIdBytes id{};
  if (bytes.size() != id.size()) return;
  std::memcpy(id.data(), bytes.data(), id.size());
  shared_ids_.push_back(id);
}

void Communicator::on_peer_lost(int peer, const Status& status) {
  goodbyes_[static_cast<size_t>(peer)] = lost_[static_cast<size_t>(peer)] = true;
  if (local_ != nullptr && layout_->same_node(peer, rank_)) {
    local_->forget(layout_->local_index[static_cast<size_t>(peer)]);
  }
  trace({.kind = TraceKind::kPeerLost,
         .source = parts_.trace_source,
         .peer = peer,
         .a = static_cast<uint64_t>(status.code())});
  set_error(status, false);
}

void Communicator::on_failure_announced(int /*origin*/, const Status& status) {
  set_error(status, false);
}

void Communicator::on_peer_left(int peer, const Departure& departure) {
  goodbyes_[static_cast<size_t>(peer)] = true;
  departures_.emplace(peer, departure);
  somebody_exited_ = somebody_exited_ || departure.at_exit;
  transfers_wait_until_ = now_ + kLateArrivals;
  looked_again_ = false;
  if (departure.operations >= left_after_.load(std::memory_order_relaxed)) return;
  left_rank_.store(peer, std::memory_order_relaxed);
  left_at_exit_.store(departure.at_exit, std::memory_order_relaxed);
  left_after_.store(departure.operations, std::memory_order_release);
}

// True: the communicator has ended, since somebody whom the running collective needs cannot come to
// it any more.
bool Communicator::ends_for_departure() {
  const uint64_t operations = left_after_.load(std::memory_order_acquire);
  if (running_ == Running::kNothing || sequence_ <= operations) return false;
  const int peer = left_rank_.load(std::memory_order_relaxed);
  const std::string call = to_string(current_call_.fingerprint());
  if (left_at_exit_.load(std::memory_order_relaxed)) {
    set_error(
        railccl::error(Code::kPeerFailed,
                       "rank {} called {} as operation {} of the communicator, the process of "
                       "rank {} on {} has ended after {}: look at its output",
                       rank_, call, sequence_, peer, parts_.nodes[static_cast<size_t>(peer)].host,
                       operations),
        true);
  } else {
    set_error(railccl::error(Code::kMismatch,
                             "operation {} of the communicator differs between ranks: rank {} "
                             "called {}, rank {} has closed its communicator after {} operations",
                             sequence_, rank_, call, peer, operations),
              true);
  }
  return true;
}

// The same for transfers, when none of them moves: what a rank has sent has come before its goodbye
// and is seen a little later at most.
bool Communicator::transfers_end_for_departure(TimeNs now) {
  if (departures_.empty() || p2p_->idle() || now < transfers_wait_until_) return false;
  // This process may have been held up since then: the rails are asked once more.
  if (!std::exchange(looked_again_, true)) return true;
  const std::optional<P2p::Partner> partner = p2p_->waiting_for(departures_);
  if (!partner) return false;
  const Departure& departure = departures_.at(partner->rank);
  set_error(railccl::error(departure.at_exit ? Code::kPeerFailed : Code::kMismatch,
                           "rank {} {}, {}", rank_, partner->transfer,
                           departure.at_exit
                               ? fmt::format("whose process on {} has ended: look at its output",
                                             parts_.nodes[static_cast<size_t>(partner->rank)].host)
                               : "which has closed its communicator"),
            true);
  return true;
}

// A peer that ends the communicator closes its links, too: the reason may be on its way.
void Communicator::on_peers_failed(const Status& status) {
  if (status.code() != Code::kPeerFailed) return set_error(status, true);
  wait_for_reason(status);
}

// Two calls may each wait for the other's rank, before anything that would show that they differ
// was sent. So who does not move tells those whom its call needs.
void Communicator::tell_call() {
  told_ = sequence_;
  const ToldCall call{.sequence = sequence_, .fingerprint = current_call_.fingerprint()};
  std::array<std::byte, 1 + sizeof call> message = {static_cast<std::byte>(CommMessage::kCall)};
  std::memcpy(&message[1], &call, sizeof call);
  for (const int peer : executor_->remote_peers()) {
    if (const Status sent = control_->send(peer, message); !sent) {
      RAILCCL_INFO(Subsys::kColl, "communicator {}: rank {} cannot tell its call: {}", parts_.name,
                   rank_, sent.message());
    }
  }
}

void Communicator::on_call_told(int peer, std::span<const std::byte> body) {
  ToldCall call;
  if (one_node_ || body.size() != sizeof call || running_ != Running::kSchedule) return;
  std::memcpy(&call, body.data(), sizeof call);
  const Status same = executor_->check(peer, call.sequence, call.fingerprint);
  if (!same) set_error(same, true);
}

void Communicator::on_put_done(uint64_t token, const Status& status) {
  if (!status) return;  // the link's failure follows
  if ((token & kP2pToken) != 0) {
    p2p_->on_put_done(token);
  } else if (running_ == Running::kSchedule) {
    executor_->on_put_done(token);
  }
}

bool Communicator::on_small_data(int peer, const MessageHeader& header,
                                 std::span<const std::byte> body) {
  if (running_ != Running::kSchedule || header.type != MessageType::kData) return false;
  const Status same = executor_->check(peer, header.sequence, header.fingerprint);
  if (!same) {
    set_error(same, true);
    return true;
  }
  return executor_->on_small_data(peer, header, body);
}

void Communicator::send_to_peers(int peer, std::span<const std::byte> bytes) {
  std::vector<std::byte> message = {static_cast<std::byte>(CommMessage::kForPeers)};
  message.insert(message.end(), bytes.begin(), bytes.end());
  const Status status = control_->send(peer, message);
  // What a link has to say to one who has left, nobody needs; an operation that does is ended.
  if (!status && !departures_.contains(peer)) set_error(status, true);
}

void Communicator::on_local_notification(int index, uint64_t tag) {
  const int node = layout_->node_of[static_cast<size_t>(rank_)];
  const int peer = layout_->ranks_of[static_cast<size_t>(node)][static_cast<size_t>(index)];
  inboxes_[static_cast<size_t>(peer)].add_notification(tag);
}

Status Communicator::set_rail(int rail, bool on) {
  const DriverLock held(engine_);
  const std::span<Rail* const> rails = engine_.rails();
  if (rail < 0 || static_cast<size_t>(rail) >= rails.size()) {
    return railccl::error(Code::kInvalidArgument, "rail {} of rank {}: it has {} rails, from 0",
                          rail, rank_, rails.size());
  }
  rails_off_.resize(rails.size());
  const auto index = static_cast<size_t>(rail);
  const auto off = static_cast<size_t>(std::count(rails_off_.begin(), rails_off_.end(), true));
  if (!on && !rails_off_[index] && off + 1 == rails.size()) {
    return railccl::error(Code::kInvalidUsage,
                          "rail {} ({}) is the last one of rank {} that is switched on: switch "
                          "another one on first",
                          rail, rails[index]->info().name, rank_);
  }
  rails_off_[index] = !on;
  if (peers_) peers_->set_rail(rail, on, system_clock().now_ns());
  engine_.kick();
  return Status::ok();
}

// Says once per operation what it waits for when nothing has moved for a while.
void Communicator::watch_for_stall(bool worked, TimeNs now) {
  const TimeNs patience = parts_.options.stall_report_ns;
  const int queued = queued_.load(std::memory_order_relaxed);
  if (worked || queued == 0) {
    if (queued > 0 && now > last_progress_ + kTracedStall) {
      trace_at(now, {.kind = TraceKind::kStall,
                     .source = parts_.trace_source,
                     .a = now - last_progress_,
                     .b = static_cast<uint64_t>(queued)});
    }
    last_progress_ = now;
    stall_reported_ = false;
    return;
  }
  if (running_ == Running::kSchedule && told_ != sequence_ && now >= last_progress_ + kTellAfter) {
    tell_call();
  }
  if (patience == 0 || stall_reported_ || now < last_progress_ + patience) return;
  stall_reported_ = true;
  std::string what = running_ == Running::kSchedule ? executor_->describe()
                     : running_ == Running::kSmall  ? "a small collective of this node"
                                                    : "no collective";
  if (!p2p_->idle()) what += "; " + p2p_->describe();
  RAILCCL_WARN(Subsys::kColl, "communicator {}: rank {} has made no progress for {} s: {}",
               parts_.name, rank_, patience / kSecond, what);
}

}  // namespace railccl
