// A rail that fails on purpose: a decorator over any transport, for tests and for trying failover
// in a running system. It changes what its owner sees of the inner rail, never the contract:
// accepted puts still complete once, events still come only from progress, close() is still the
// fence. What it does is decided by counting puts, so that a plan does the same in every run.
//
//   FaultPlan plan{.after_puts = 100, .kind = FaultPlan::Kind::kFail};
//   std::unique_ptr<Rail> rail = make_fault_rail(std::move(inner), {plan});
//
// Threading: as any rail.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "src/base/status.h"
#include "transport/rail.h"

namespace railccl {

struct FaultPlan {
  enum class Kind : uint8_t {
    kFail,            // the endpoint that would make the put fails, on this side only
    kLoseCompletion,  // the put lands, but completes with an error; the endpoint fails
    kBlackhole,       // this put and all later ones are accepted and go nowhere, in silence
    kPortDown,        // the port reports itself down and its endpoints fail
    kBackPressure,    // the next `count` calls of put() are refused with back-pressure
    kCorrupt,         // the next `count` puts with data that arrive have a wrong byte
    kDelay,           // every event is reported `count` calls of progress later
  };
  Kind kind = Kind::kFail;
  uint64_t after_puts = 0;  // accepted by the rail before this happens
  uint64_t count = 1;
};

// "fail@100", "lose@3,blackhole@500,down@7,busy@20x5,corrupt@9x2,delay@0x3".
Result<std::vector<FaultPlan>> parse_fault_plans(std::string_view text);

// `inner` belongs to the new rail. Plans happen in order of after_puts; each once, but for kDelay,
// which stays.
Result<std::unique_ptr<Rail>> make_fault_rail(std::unique_ptr<Rail> inner,
                                              std::vector<FaultPlan> plans);

}  // namespace railccl
