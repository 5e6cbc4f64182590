// What can go wrong with a simulated rail, as data, and a seeded schedule of it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"

namespace railccl {

struct SimFault {
  enum class Kind : uint8_t {
    kCut,              // the port goes down: its endpoints fail, the peers' ones when they put
    kRestore,          // the port comes up again, and every other fault of it ends
    kMute,             // what leaves is lost in silence (a blackhole)
    kDeaf,             // what would arrive is lost in silence
    kFailEndpoints,    // the endpoints of this side fail; the peers see nothing
    kAcknowledgeOnly,  // puts complete with success and are dropped; after `duration` it is mute
    kLoseCompletions,  // puts land, but complete with an error: the endpoint fails
    kLateWrites,       // endpoints fail, and what was on the way lands up to `duration` later
    kDuplicate,        // notifications come twice
    kJitter,           // every put takes up to `duration` longer: they overtake each other
    kRate,             // the rate is `value` times that of the configuration from now on
    kLoss,             // each put is lost with probability `value`, and sent again by the NIC
    kCorrupt,          // each put lands with one wrong byte with probability `value`
  };
  Kind kind = Kind::kCut;
  TimeNs at = 0;
  int rail = 0;
  TimeNs duration = 0;
  double value = 1;
};

std::string_view name_of(SimFault::Kind kind);
std::string to_string(const SimFault& fault);

struct SimFaultPlan {
  uint64_t seed = 1;
  int rails = 1;
  int faults = 3;
  TimeNs begin = 0;
  TimeNs end = 10 * kMillisecond;
  // Every rail is restored at the end of its fault, `outage` after it at most; never if 0.
  TimeNs outage = 5 * kMillisecond;
};
// The same plan gives the same faults, in order of time.
std::vector<SimFault> random_faults(const SimFaultPlan& plan);

}  // namespace railccl
