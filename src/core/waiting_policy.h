// How to wait for something that another rank or a rail will do: poll on, give the core away for a
// moment, or sleep. Spinning while another rank needs the core costs that rank a whole time slice,
// so it is for domains with a core per rank only.
//
// Pure: the caller says the time, and does what is answered. One thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "src/base/clock.h"

namespace railccl {

enum class WaitMode : uint8_t {
  kSpin,      // never give the core away
  kAdaptive,  // spin while ranks have a core each, else yield; sleep after a while
  kSleep,     // sleep at once when idle
};

// What the descriptors that a driver watches besides the rails' have shown to it in a sleep.
enum class SleepEnd : uint8_t {
  kNotSlept,
  kQuiet,   // nothing
  kCalled,  // perhaps something
};

// Where nobody has set it. Who spins on a machine's only processor keeps the threads of the kernel
// from it by which what he waits for would come.
constexpr TimeNs default_spin_ns(int processors) { return processors == 1 ? 0 : 50 * kMicrosecond; }

// How long to spin before a sleep, learnt from the sleeps: one that ends at once cost a wake-up
// that spinning would have saved. Two ranks that each wait for the other's wake-up would go on so
// for ever (a wake-up takes 50 us on a virtual machine), so such a sleep makes the next spin
// longer.
class SpinBudget {
 public:
  explicit SpinBudget(TimeNs least) : least_(least), spin_(least) {}
  TimeNs spin_ns() const { return spin_; }
  void slept(TimeNs duration) {
    spin_ = duration < kSoon ? std::min(std::max(2 * spin_, kFirst), std::max(least_, kMost))
                             : std::max(spin_ / 2, least_);
  }

 private:
  static constexpr TimeNs kSoon = 300 * kMicrosecond;
  static constexpr TimeNs kFirst = 100 * kMicrosecond;
  static constexpr TimeNs kMost = 400 * kMicrosecond;
  TimeNs least_;
  TimeNs spin_;
};

// How long to spin before the core is offered to others, learnt from the offers: one that nobody
// takes is a system call for nothing, one that is taken lets the rank run for which this one waits,
// and the next one is made at once.
class YieldDelay {
 public:
  TimeNs ns() const { return delay_; }
  void yielded(TimeNs duration) {
    delay_ = duration >= kTaken ? 0 : std::min(std::max(2 * delay_, kLeast), kMost);
  }

 private:
  static constexpr TimeNs kTaken = 2 * kMicrosecond;  // no bare system call takes so long
  static constexpr TimeNs kLeast = 5 * kMicrosecond / 2;
  static constexpr TimeNs kMost = 20 * kMicrosecond;
  TimeNs delay_ = kLeast;
};

class WaitingPolicy {
 public:
  enum class Action : uint8_t { kSpin, kYield, kSleep };

  struct Options {
    WaitMode mode = WaitMode::kAdaptive;
    int ranks = 1;  // that run at the same time on `cores` cores (LocalDomain::cores)
    int cores = 1;
    TimeNs spin_ns = 50 * kMicrosecond;    // kAdaptive, a core per rank: at least
    TimeNs yield_ns = 200 * kMicrosecond;  // kAdaptive, fewer cores than ranks
  };

  explicit WaitingPolicy(const Options& options) : options_(options), budget_(options.spin_ns) {}

  // Something happened, or a new wait begins.
  void reset() { idle_since_ = kNever; }
  // Nothing happened in this round.
  Action idle(TimeNs now);
  // The sleep that kSleep asked for is over.
  void slept(TimeNs duration) { budget_.slept(duration); }
  bool crowded() const { return options_.ranks > options_.cores; }

 private:
  Options options_;
  SpinBudget budget_;
  TimeNs idle_since_ = kNever;
};

}  // namespace railccl
