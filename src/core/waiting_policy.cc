#include "src/core/waiting_policy.h"

namespace railccl {

WaitingPolicy::Action WaitingPolicy::idle(TimeNs now) {
  if (options_.mode == WaitMode::kSpin) return Action::kSpin;
  if (options_.mode == WaitMode::kSleep) return Action::kSleep;
  if (idle_since_ == kNever) idle_since_ = now;
  const TimeNs idle_ns = now - idle_since_;
  if (crowded()) return idle_ns < options_.yield_ns ? Action::kYield : Action::kSleep;
  return idle_ns < budget_.spin_ns() ? Action::kSpin : Action::kSleep;
}

}  // namespace railccl
