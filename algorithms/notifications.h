// The verifier's second part: which wait takes which notification. Pure; used by verifier.cc only.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/verifier.h"

namespace railccl::algorithms {

// By rank and step: the step at the step's peer that waits for this notification, or that sends
// what this step waits for. kNoStep for steps that are neither, and for waits of the previous lap.
class Notifications {
 public:
  static constexpr uint32_t kNoStep = ~uint32_t{0};
  // Within one piece: each notification is sent and waited for exactly once. Credits (previous_lap)
  // pair with each other.
  static Result<Notifications> match(const ScheduleSet& set);
  // The signals of `earlier` that the previous_lap waits of `set` take; errors when the two do not
  // have the same notifications.
  static Result<Notifications> match_credits(const ScheduleSet& earlier, const ScheduleSet& set);

  uint32_t partner(int rank, size_t step) const { return steps_[static_cast<size_t>(rank)][step]; }

 private:
  std::vector<std::vector<uint32_t>> steps_;
};

}  // namespace railccl::algorithms
