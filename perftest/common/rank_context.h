// What one rank's measurements work with. Borrowed by everything that measures; owned by the rank's
// thread (process.cc), which outlives it.
#pragma once

#include <cstdint>

#include "perftest/common/collective.h"
#include "perftest/common/crew.h"
#include "perftest/common/library.h"
#include "perftest/common/options.h"
#include "perftest/common/rank_memory.h"
#include "perftest/common/watchdog.h"

namespace railccl::perftest {

struct RankContext {
  const Options& options;
  const Collective& collective;
  Crew& crew;
  Watchdog& watchdog;
  int thread = 0;  // of this process
  int rank = 0;
  ncclComm_t comm = nullptr;
  RankMemory& memory;
  Buffers buffers;  // in memory: options.sizes.max_bytes, unaligned as -u says, and the guard
};

// One line of the table.
struct TestCase {
  uint64_t bytes = 0;  // asked for
  ncclDataType_t type = ncclFloat;
  Operator op = Operator::kSum;
  int root = 0;
};

}  // namespace railccl::perftest
