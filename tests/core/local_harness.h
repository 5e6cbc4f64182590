// Runs a body once per rank of a local domain, as threads of this process or as forked processes,
// and collects what each says. Test programs must be single-threaded between such runs, since forks
// of threaded programs are not sound.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/core/local_domain.h"
#include "src/core/waiting_policy.h"

namespace railccl {

enum class RanksAs { kThreads, kProcesses };

struct HarnessOptions {
  int ranks = 2;
  RanksAs as = RanksAs::kThreads;
  uint64_t scratch_bytes = 4096;
  std::function<void(int index)> before;  // in each rank, before it joins
};

// Returns "" or what went wrong.
using RankBody = std::function<std::string(LocalDomain& domain, int index)>;

// One text per rank. The domain is settled when the body begins; the body of a forked rank must not
// use GoogleTest's assertions, as nobody would hear of them.
std::vector<std::string> run_ranks(const HarnessOptions& options, const RankBody& body);

// How a waiting rank passes its time.
enum class WaitHow { kSpin, kYield, kAdaptive, kFutex, kDescriptor };

// Waits until `attempt` holds; false when 60 s have passed. A sleeping rank wakes by a doorbell
// only: a lost wake-up shows as a failure, not as a pause.
bool wait_until(LocalDomain& domain, WaitHow how, const std::function<bool()>& attempt);

}  // namespace railccl
