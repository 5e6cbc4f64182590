// One size in one placement: the timed iterations, what all ranks' times say together, and the
// check of the results. Called by all ranks' threads at the same time; all get the same answer.
#pragma once

#include <cstdint>

#include "perftest/common/rank_context.h"
#include "perftest/common/result.h"

namespace railccl::perftest {

struct Measured {
  PlacementResult result;
  uint64_t iterations = 0;
  uint64_t failed_ranks = 0;  // ranks with at least one wrong element
};

// `repetition`: makes the checked data different from call to call; the same on all ranks.
Outcome<Measured> measure(const RankContext& context, const TestCase& test, bool in_place,
                          uint64_t repetition);

// The iterations of -w, without time or check.
Outcome<void> warm_up(const RankContext& context, const TestCase& test);

}  // namespace railccl::perftest
