// Communicator: the end of one, in order or not, and gathers over its control path (see
// communicator.h).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "src/base/log.h"
#include "src/core/communicator.h"
#include "src/core/explain_output.h"
#include "src/core/metrics_output.h"

namespace railccl {
namespace {

constexpr TimeNs kGoodbyeTimeout = 5 * kSecond;  // for peers that are still in their last operation
constexpr TimeNs kCloseTimeout = 2 * kSecond;
// To get the last words out when nobody answers, or nobody needs to: one thread may destroy all
// ranks of a node one after another.
constexpr TimeNs kParting = 50 * kMillisecond;

}  // namespace

Communicator::~Communicator() {
  const TimeNs now = system_clock().now_ns();
  close_paths(Status(Code::kAborted, "the communicator was destroyed"), now + kCloseTimeout,
              now + kParting);
  static_cast<void>(shared_heap_free(staged_));
}

Status Communicator::finalize() {
  // Operations in flight end or fail by their own deadlines.
  engine_.drive_until([this] { return !busy(); }, kNever);
  const TimeNs now = system_clock().now_ns();
  if (!failed_.load() && !departed_.load()) say_goodbye(now + kGoodbyeTimeout);
  const TimeNs left = system_clock().now_ns();
  const bool alone = failed_.load() || departed_.load() || one_node_;
  close_paths(Status(Code::kAborted, "the communicator was finalized"), left + kCloseTimeout,
              left + (alone ? kParting : kGoodbyeTimeout));
  return error();
}

void Communicator::abort() {
  if (!registered()) return;
  set_error(Status(Code::kAborted, fmt::format("rank {} on {} called ncclCommAbort", rank_,
                                               parts_.nodes[static_cast<size_t>(rank_)].host)),
            true);
  const TimeNs deadline = system_clock().now_ns() + kCloseTimeout;
  engine_.drive_until([this] { return !busy() && !announce_.load(); }, deadline);
  close_paths(error(), deadline, system_clock().now_ns() + kParting);
}

// A peer in its last operation may still need our acknowledgements: waits until all to whom there
// is a link have said that they are through. Others may need our word on a change of rails.
void Communicator::say_goodbye(TimeNs deadline) {
  if (one_node_) return;
  // Who hears the goodbye does not wait for anything more.
  engine_.drive_until([this] { return !peers_ || failed_.load() || peers_->idle(); }, deadline);
  std::vector<int> linked;
  {
    const DriverLock held(engine_);
    if (!peers_) return;  // another thread has closed it
    if (rail_model_) rail_model_->leave();
    std::array<std::byte, 1 + sizeof sequence_> goodbye = {
        static_cast<std::byte>(CommMessage::kGoodbye)};
    std::memcpy(&goodbye[1], &sequence_, sizeof sequence_);
    linked = peers_->linked();
    for (const int peer : linked) {
      const Status sent = control_->send(peer, goodbye);
      if (!sent) goodbyes_[static_cast<size_t>(peer)] = true;
    }
  }
  const auto all_said = [this, &linked] {
    if (failed_.load()) return true;
    if (rail_model_ && !rail_model_->ended() && !somebody_exited_) return false;
    return std::all_of(linked.begin(), linked.end(),
                       [this](int peer) { return goodbyes_[static_cast<size_t>(peer)]; });
  };
  if (!engine_.drive_until(all_said, deadline)) {
    RAILCCL_INFO(Subsys::kDestroy, "communicator {}: rank {} leaves before its peers are through",
                 parts_.name, rank_);
  }
}

// Nobody has closed the communicator. What operations that have returned have sent gets through,
// and the others hear that this is no death; who has operations under way is found lost by them.
bool Communicator::depart() {
  if (closing_ || failed_.load()) return !announce_.load() && control_->delivered();
  if (departed_.load()) return control_->delivered();
  if (queued_.load() > 0 || (peers_ && !peers_->idle()) || !try_drive()) return false;
  departed_.store(true);  // and nobody begins anything any more
  if (peers_) {
    peers_->close(Status(Code::kAborted, "the process ends"), system_clock().now_ns());
  }
  control_->close({.operations = sequence_, .at_exit = true});
  stop_driving();
  return false;
}

bool Communicator::registered() {
  const DriverLock held(engine_);
  return registered_;
}

bool Communicator::begin_closing() {
  const DriverLock held(engine_);
  return registered_ && !std::exchange(closing_, true);
}

void Communicator::close_paths(const Status& reason, TimeNs links_deadline,
                               TimeNs control_deadline) {
  if (!begin_closing()) {
    const auto closed = [this]() RAILCCL_REQUIRES(engine_.driver()) { return !registered_; };
    engine_.drive_until(closed, control_deadline);
    return;
  }
  if (parts_.outputs.explain != nullptr) parts_.outputs.explain->update(*this);
  if (parts_.outputs.metrics != nullptr) {
    const DriverLock held(engine_);
    parts_.outputs.metrics->remove(this);
  }
  if (peers_) {
    {
      const DriverLock held(engine_);
      peers_->close(reason, system_clock().now_ns());
    }
    engine_.drive_until([this] { return peers_->closed(); }, links_deadline);
  }
  {
    const DriverLock held(engine_);
    // Why a communicator with an error has ended is told in its own way; that this rank has left
    // must not come before it.
    control_->close(
        {.operations = failed_.load() ? std::numeric_limits<uint64_t>::max() : sequence_});
  }
  engine_.drive_until([this] { return control_->closed(); }, control_deadline);
  const DriverLock held(engine_);
  engine_.remove_client(this);
  engine_.unwatch(control_->wake_fd());
  if (local_ != nullptr) {
    if (const auto doorbell = local_->wake_fd()) engine_.unwatch(*doorbell);
  }
  peers_.reset();
  scratch_memory_.reset();
  rail_memory_.clear();
  registered_ = false;
}

Result<std::vector<std::vector<std::byte>>> Communicator::gather(std::span<const std::byte> mine,
                                                                 TimeNs timeout) {
  uint64_t sequence = 0;
  {
    const DriverLock held(engine_);
    sequence = ++gathers_;
    RAILCCL_TRY(control_->begin_gather(sequence, mine));
  }
  std::vector<std::vector<std::byte>> blobs;
  const auto arrived = [&] {
    if (failed_.load()) return true;
    const auto* found = control_->poll_gather(sequence);
    if (found == nullptr) return false;
    blobs = *found;
    return true;
  };
  const bool in_time = engine_.drive_until(arrived, system_clock().now_ns() + timeout);
  RAILCCL_TRY(error());
  if (!in_time) {
    return railccl::error(Code::kTimeout,
                          "rank {} of {} waited {} s for the other ranks to call the same function",
                          rank_, parts_.name, timeout / kSecond);
  }
  return blobs;
}

std::string Communicator::left(int rank) const {
  const DriverLock held(engine_);
  const auto found = departures_.find(rank);
  return fmt::format("rank {} on {} has {}", rank, parts_.nodes[static_cast<size_t>(rank)].host,
                     found == departures_.end() ? "given nothing" : found->second.verb());
}

Result<std::vector<UniqueIdBytes>> Communicator::share_id(const std::vector<int>& members) {
  if (members.front() == rank_) {
    RAILCCL_ASSIGN(const UniqueIdBytes id, create_unique_id(parts_.options.bootstrap, ""));
    std::vector<std::byte> message = {static_cast<std::byte>(CommMessage::kSharedId)};
    message.insert(message.end(), id.begin(), id.end());
    const DriverLock held(engine_);
    for (const int member : members) {
      if (member != rank_) RAILCCL_TRY(control_->send(member, message));
    }
    return std::vector<UniqueIdBytes>{id};
  }
  const TimeNs timeout = parts_.options.bootstrap.rank_timeout_ns;
  const TimeNs deadline = system_clock().now_ns() + timeout;
  const auto lost = [this, &members] {
    return lost_[static_cast<size_t>(members.front())] || departures_.contains(members.front());
  };
  engine_.drive_until([&] { return !shared_ids_.empty() || lost(); }, deadline);
  const DriverLock held(engine_);
  if (shared_ids_.empty() && lost()) {
    return railccl::error(Code::kPeerFailed,
                          "rank {}, which is to begin the new communicator of ncclCommShrink, is "
                          "lost: name it, too, on the list of excluded ranks",
                          members.front());
  }
  if (shared_ids_.empty()) {
    return railccl::error(
        Code::kTimeout, "rank {} waited {} s for rank {} to call ncclCommShrink with the same list",
        rank_, timeout / kSecond, members.front());
  }
  const UniqueIdBytes id = shared_ids_.front();
  shared_ids_.pop_front();
  return std::vector<UniqueIdBytes>{id};
}

}  // namespace railccl
