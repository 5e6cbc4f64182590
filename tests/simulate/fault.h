// What goes wrong in a simulated run, as data: faults of rails, ranks that pause or die, hosts that
// vanish, a control path that is late; at some time, or when the run is in some phase. Made from a
// seed; pure.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
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
    kDeath,         // the process ends: its connections are closed
    kVanish,        // the host is gone: nothing more is heard of it
    kAbort,         // the rank's user calls ncclCommAbort
  };
  // Of the whole run, of whichever rank.
  enum class Phase : uint8_t {
    kAny,
    kInit,      // the ranks meet
    kReady,     // ready messages are under way
    kFence,     // an endpoint is being closed
    kReplay,    // a chunk or message is on its way for the second time
    kFinalize,  // a rank says goodbye
  };
  Kind kind = Kind::kRail;
  Phase phase = Phase::kAny;
  TimeNs after = 0;  // the begin of the phase
  TimeNs at = 0;     // with a phase: not before
  int rank = 0;
  int rail = 0;
  TimeNs lasts = 0;
  uint32_t times = 0;
  SimFault::Kind rail_kind = SimFault::Kind::kCut;
  TimeNs duration = 0;  // of SimFault
  double value = 0;     // of SimFault
};

constexpr int kFaultKinds = static_cast<int>(Fault::Kind::kAbort) + 1;
constexpr int kPhases = static_cast<int>(Fault::Phase::kFinalize) + 1;
constexpr int kRailFaultKinds = static_cast<int>(SimFault::Kind::kCorrupt) + 1;

std::string to_string(const Fault& fault);
std::string_view name_of(Fault::Kind kind);
std::string_view name_of(Fault::Phase phase);

struct FaultPlan {
  uint64_t seed = 1;
  int ranks = 2;
  int rails = 1;
  TimeNs run_ns = kMillisecond;  // how long the run takes without faults
  bool corruption = false;       // only where checksums are verified
  TimeNs silence_timeout_ns = kSecond;
};
std::vector<Fault> make_faults(const FaultPlan& plan);

// What the rails of the network meet; rail `r` of rank k has number k * rails + r.
std::vector<SimFault> rail_faults(const Fault& fault, int rails);

// All faults pass, or leave one of the first `common_rails` of all ranks untouched, nobody dies,
// and no rank is silent for too long: the run must end with the right result.
struct Tolerated {
  int common_rails = 1;
  TimeNs silence_timeout_ns = kSecond;
};
bool must_succeed(const std::vector<Fault>& faults, const Tolerated& tolerated);
// The time that faults may cost at most, one after another.
TimeNs time_lost(const std::vector<Fault>& faults);
// How many times as long the same bytes may take where every rail that all ranks have stays slow.
double times_as_long(const std::vector<Fault>& faults, int common_rails);

}  // namespace railccl::simulate
