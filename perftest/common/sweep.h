// All lines of the table: every type, operator, root and size that the options ask for. Called by
// all ranks' threads at the same time.
#pragma once

#include <vector>

#include "perftest/common/rank_context.h"
#include "perftest/common/reporter.h"

namespace railccl::perftest {

// The types, operators and roots to run, sizes left out.
std::vector<TestCase> test_cases(const Options& options, const Collective& collective, int ranks);

struct SweepTotals {
  uint64_t measurements = 0;
  uint64_t failed_measurements = 0;  // counted once for each rank with wrong elements
  double bus_bandwidth_sum = 0;
};

// `reporter`: rank 0's, else null.
Outcome<SweepTotals> sweep(const RankContext& context, Reporter* reporter);

}  // namespace railccl::perftest
