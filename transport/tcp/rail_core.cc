#include "transport/tcp/rail_core.h"

#include <algorithm>
#include <utility>

namespace railccl::tcp {

bool RailCore::has_work() const { return !to_flush_.empty() || !to_report_.empty(); }

void RailCore::wake_for_work() {
  const bool woken_before = has_work();
  if (sink_ == nullptr && !woken_before) poller_.wake();
}

void RailCore::want_flush(RailMember& member) {
  if (std::exchange(member.wants_flush_, true)) return;
  wake_for_work();
  to_flush_.push_back(&member);
}

void RailCore::want_acknowledge(RailMember& member, TimeNs within) {
  const TimeNs at = now_ + within;
  if (std::exchange(member.wants_acknowledge_, true)) {
    member.acknowledge_at_ = std::min(member.acknowledge_at_, at);
    return;
  }
  member.acknowledge_at_ = at;
  holds_new_ = true;
  if (std::ranges::find(to_acknowledge_, &member) == to_acknowledge_.end()) {
    to_acknowledge_.push_back(&member);
  }
}

void RailCore::want_report(RailMember& member) {
  if (std::exchange(member.wants_report_, true)) return;
  wake_for_work();
  to_report_.push_back(&member);
}

void RailCore::end_progress() {
  sink_ = nullptr;
  // For an owner that stops here; whoever calls again takes it back.
  if (has_work() || std::exchange(holds_new_, false)) poller_.wake();
}

void RailCore::forget(RailMember& member) {
  std::erase(to_flush_, &member);
  std::erase(to_acknowledge_, &member);
  std::erase(to_report_, &member);
}

// Small puts of all members go before bulk of any.
bool RailCore::flush_members() {
  if (to_flush_.empty()) return false;
  flushing_.clear();
  flushing_.swap(to_flush_);
  for (RailMember* member : flushing_) member->wants_flush_ = false;
  for (const LaneId lane : {LaneId::kSmall, LaneId::kBulk}) {
    for (RailMember* member : flushing_) {
      if (member->flush(lane)) want_flush(*member);
    }
  }
  return true;
}

bool RailCore::acknowledge_members() {
  std::erase_if(to_acknowledge_, [this](RailMember* member) {
    const bool due = member->wants_acknowledge_ && now_ >= member->acknowledge_at_;
    if (!due) return !member->wants_acknowledge_;
    member->wants_acknowledge_ = false;
    want_flush(*member);
    return true;
  });
  return flush_members();
}

bool RailCore::report_members() {
  if (to_report_.empty()) return false;
  // A reaction to an event may append to the list.
  for (size_t i = 0; i < to_report_.size(); ++i) {
    to_report_[i]->wants_report_ = false;
    to_report_[i]->report();
  }
  to_report_.clear();
  return true;
}

void RailCore::warn_once(std::string_view kind, const std::string& message) {
  if (warned_.contains(kind)) return;
  warned_.emplace(kind);
  if (options_.warn) options_.warn(message);
}

}  // namespace railccl::tcp
