// The verifier's first part: each step by itself. Pure; used by verifier.cc only.
#pragma once

#include <span>

#include "algorithms/verifier.h"

namespace railccl::algorithms {

// Fields within their ranges; slices within buffers that exist and that the rank may reach; no
// overlap inside a step but element-wise. Errors name rank and step.
Status verify_structure(const ScheduleSet& set);

// Slices of a step, destinations first.
inline std::span<const Slice> destinations(const Schedule& schedule, const Step& step) {
  return std::span<const Slice>(schedule.slices).subspan(step.first_slice, step.num_dsts);
}
inline std::span<const Slice> sources(const Schedule& schedule, const Step& step) {
  return std::span<const Slice>(schedule.slices)
      .subspan(step.first_slice + step.num_dsts, step.num_srcs);
}

inline bool is_data(const Step& step) {
  return step.kind != StepKind::kSignal && step.kind != StepKind::kWait;
}

}  // namespace railccl::algorithms
