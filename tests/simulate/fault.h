// What goes wrong in a simulated run, as data: faults of rails, ranks that pause or die, a control
// path that is late. Made from a seed; pure.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "transport/sim/sim_fault.h"

namespace railccl::simulate {

struct Fault {
  enum class Kind : uint8_t {
    kRail,          // `rail_kind` on a port, restored after `lasts` unless that is 0
    kFlapping,      // the port goes down and up `times` times within `lasts`
    kPause,         // the rank does nothing for `lasts`: a stopped process, a busy host
    kControlStall,  // what the rank sends on the control path is late by `lasts`
    kDeath,         // the process ends; the others are told `lasts` later
    kAbort,         // the rank's user calls ncclCommAbort
  };
  Kind kind = Kind::kRail;
  TimeNs at = 0;
  int rank = 0;
  int rail = 0;
  TimeNs lasts = 0;
  uint32_t times = 0;
  SimFault::Kind rail_kind = SimFault::Kind::kCut;
  TimeNs duration = 0;  // of SimFault
  double value = 0;     // of SimFault
};

std::string to_string(const Fault& fault);

struct FaultPlan {
  uint64_t seed = 1;
  int ranks = 2;
  int rails = 1;
  TimeNs run_ns = kMillisecond;  // how long the run takes without faults
  bool corruption = false;       // only where checksums are verified
};
std::vector<Fault> make_faults(const FaultPlan& plan);

// What the rails of the network meet; rail `r` of rank k has number k * rails + r.
std::vector<SimFault> rail_faults(const Fault& fault, int rails);

// All faults pass, or leave one of the first `common_rails` of all ranks untouched, and nobody
// dies: the run must end with the right result.
bool must_succeed(const std::vector<Fault>& faults, int common_rails);
// The time that faults may cost at most, one after another.
TimeNs time_lost(const std::vector<Fault>& faults);

}  // namespace railccl::simulate
