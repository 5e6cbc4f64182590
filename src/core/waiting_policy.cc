#include "src/core/waiting_policy.h"

namespace railccl {
namespace {

// A core per rank does not say that the scheduler has given each its own: who waits longer than an
// exchange takes may be keeping the one it waits for from running.
constexpr TimeNs kUnsharedSpin = 10 * kMicrosecond;

}  // namespace

WaitingPolicy::Action WaitingPolicy::idle(TimeNs now) {
  if (options_.mode == WaitMode::kSpin) return Action::kSpin;
  if (options_.mode == WaitMode::kSleep) return Action::kSleep;
  if (idle_since_ == kNever) idle_since_ = now;
  const TimeNs idle_ns = now - idle_since_;
  if (crowded()) return idle_ns < options_.yield_ns ? Action::kYield : Action::kSleep;
  if (idle_ns >= budget_.spin_ns()) return Action::kSleep;
  return idle_ns < kUnsharedSpin ? Action::kSpin : Action::kYield;
}

}  // namespace railccl
