#include "transport/tcp/rail_core.h"

#include <algorithm>
#include <utility>

namespace railccl::tcp {

void RailCore::want_flush(RailMember& member) {
  if (!std::exchange(member.wants_flush_, true)) to_flush_.push_back(&member);
}

void RailCore::want_acknowledge(RailMember& member, bool soon) {
  if (!std::exchange(member.owes_acknowledgement_, true)) {
    member.acknowledge_at_ = now_ + kAcknowledgeWhenPolled;
  }
  if (soon) member.acknowledge_at_ = now_;
  soon_ = soon_ || soon;
  if (!std::exchange(member.listed_, true)) to_acknowledge_.push_back(&member);
}

void RailCore::want_report(RailMember& member) {
  if (std::exchange(member.wants_report_, true)) return;
  if (sink_ == nullptr && to_report_.empty()) poller_.wake();
  to_report_.push_back(&member);
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
  soon_ = false;
  std::erase_if(to_acknowledge_, [this](RailMember* member) {
    const bool owes = member->owes_acknowledgement_;
    if (owes && now_ < member->acknowledge_at_) return false;
    member->listed_ = false;
    if (owes) want_flush(*member);
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
