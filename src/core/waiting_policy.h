// How to wait for something that another rank or a rail will do: poll on, give the core away for a
// moment, or sleep. Spinning while another rank needs the core costs that rank a whole time slice,
// so it is for domains with a core per rank only.
//
// Pure: the caller says the time, and does what is answered. One thread at a time.
#pragma once

#include <cstdint>

#include "src/base/clock.h"

namespace railccl {

enum class WaitMode : uint8_t {
  kSpin,      // never give the core away
  kAdaptive,  // spin while ranks have a core each, else yield; sleep after a while
  kSleep,     // sleep at once when idle
};

class WaitingPolicy {
 public:
  enum class Action : uint8_t { kSpin, kYield, kSleep };

  struct Options {
    WaitMode mode = WaitMode::kAdaptive;
    int ranks = 1;  // that run at the same time on `cores` cores (LocalDomain::cores)
    int cores = 1;
    TimeNs spin_ns = 50 * kMicrosecond;    // kAdaptive, a core per rank
    TimeNs yield_ns = 200 * kMicrosecond;  // kAdaptive, fewer cores than ranks
  };

  explicit WaitingPolicy(const Options& options) : options_(options) {}

  // Something happened, or a new wait begins.
  void reset() { idle_since_ = kNever; }
  // Nothing happened in this round.
  Action idle(TimeNs now);
  bool crowded() const { return options_.ranks > options_.cores; }

 private:
  Options options_;
  TimeNs idle_since_ = kNever;
};

}  // namespace railccl
