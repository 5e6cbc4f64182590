// Communicator: what comes from outside: control messages, links, local peers; and what does not
// come (see communicator.h).
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "src/base/log.h"
#include "src/base/trace.h"
#include "src/core/communicator.h"

namespace railccl {
namespace {

constexpr TimeNs kTracedStall = 10 * kMillisecond;  // shorter ones are every-day life

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
      goodbyes_[static_cast<size_t>(peer)] = true;
      break;
    case CommMessage::kSharedId:
      take_shared_id(body);
      break;
    case CommMessage::kRails:
      if (rail_model_) status = rail_model_->accept(peer, body);
      break;
  }
  if (!status) set_error(status.with_context(fmt::format("rank {}", peer)), true);
}

void Communicator::take_shared_id(std::span<const std::byte> bytes) {
  UniqueIdBytes id{};
  if (bytes.size() != id.size()) return;
  std::memcpy(id.data(), bytes.data(), id.size());
  shared_ids_.push_back(id);
}

void Communicator::on_peer_lost(int peer, const Status& status) {
  goodbyes_[static_cast<size_t>(peer)] = true;
  trace({.kind = TraceKind::kPeerLost,
         .source = parts_.trace_source,
         .peer = peer,
         .a = static_cast<uint64_t>(status.code())});
  set_error(status, false);
}

void Communicator::on_failure_announced(int /*origin*/, const Status& status) {
  set_error(status, false);
}

void Communicator::on_peers_failed(const Status& status) { set_error(status, true); }

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
  if (!status) set_error(status, true);
}

void Communicator::on_local_notification(int index, uint64_t tag) {
  const int node = layout_->node_of[static_cast<size_t>(rank_)];
  const int peer = layout_->ranks_of[static_cast<size_t>(node)][static_cast<size_t>(index)];
  inboxes_[static_cast<size_t>(peer)].add_notification(tag);
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
