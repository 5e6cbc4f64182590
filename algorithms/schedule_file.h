// Schedules of all ranks as JSON, for a user's own schedules and for tools. Pure: text in, text
// out; any thread. The format is described in docs/algorithms.md.
#pragma once

#include <string>
#include <string_view>

#include "algorithms/verifier.h"

namespace railccl {

std::string write_schedules(const ScheduleSet& set);

// Strict: an error names the place ("ranks[2].steps[5].peer") and what is expected there; unknown
// and repeated keys are errors. What comes back is well-formed, not yet right.
Result<ScheduleSet> parse_schedules(std::string_view text);

// Parsed and verified: may be run.
Result<ScheduleSet> read_schedules(std::string_view text);

}  // namespace railccl
