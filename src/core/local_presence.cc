#include "src/core/local_presence.h"

#include <signal.h>

#include <cerrno>
#include <utility>

#include "src/core/local_fence.h"

namespace railccl {
namespace {

bool has_ended(uint32_t pid) { return kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH; }

}  // namespace

LocalPresence::LocalPresence(std::shared_ptr<LocalSegment> segment, int self)
    : segment_(std::move(segment)),
      self_(self),
      gone_(static_cast<size_t>(segment_->layout().ranks)) {}

void LocalPresence::show(bool inside) {
  segment_->state(self_).inside.store(inside ? 1 : 0, std::memory_order_release);
}

void LocalPresence::enter() {
  if (withdrawn_ || depth_++ != 0) return;
  show(true);
  full_fence();
}

void LocalPresence::leave() {
  if (!withdrawn_ && --depth_ == 0) show(false);
}

void LocalPresence::withdraw() {
  if (!std::exchange(withdrawn_, true)) show(false);
}

std::vector<int> LocalPresence::others_inside() const {
  full_fence();
  std::vector<int> inside;
  for (int rank = 0; rank < segment_->layout().ranks; ++rank) {
    const RankState& state = segment_->state(rank);
    if (rank == self_ || state.inside.load(std::memory_order_acquire) == 0) continue;
    if (!gone_[static_cast<size_t>(rank)].load() && !has_ended(state.pid)) inside.push_back(rank);
  }
  return inside;
}

}  // namespace railccl
