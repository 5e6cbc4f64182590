#include "transport/sim/sim_fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <string_view>

namespace railccl {
namespace {

constexpr std::array<std::string_view, 13> kSimFaultNames = {"cut",
                                                             "restore",
                                                             "mute",
                                                             "deaf",
                                                             "fail endpoints",
                                                             "acknowledge only",
                                                             "lose completions",
                                                             "late writes",
                                                             "duplicate",
                                                             "jitter",
                                                             "rate",
                                                             "loss",
                                                             "corrupt"};

TimeNs between(std::mt19937_64& random, TimeNs low, TimeNs high) {
  return high <= low ? low : low + random() % (high - low);
}

SimFault::Kind random_kind(std::mt19937_64& random) {
  using Kind = SimFault::Kind;
  constexpr std::array kKinds = {Kind::kCut,
                                 Kind::kMute,
                                 Kind::kDeaf,
                                 Kind::kFailEndpoints,
                                 Kind::kAcknowledgeOnly,
                                 Kind::kLoseCompletions,
                                 Kind::kLateWrites,
                                 Kind::kDuplicate,
                                 Kind::kJitter,
                                 Kind::kRate};
  return kKinds[random() % kKinds.size()];
}

}  // namespace

std::string_view name_of(SimFault::Kind kind) { return kSimFaultNames[static_cast<size_t>(kind)]; }

std::string to_string(const SimFault& fault) {
  return fmt::format("{} us: rail {} {} ({} us, {:.3f})", fault.at / kMicrosecond, fault.rail,
                     kSimFaultNames[static_cast<size_t>(fault.kind)], fault.duration / kMicrosecond,
                     fault.value);
}

std::vector<SimFault> random_faults(const SimFaultPlan& plan) {
  std::mt19937_64 random(plan.seed);
  std::vector<SimFault> faults;
  for (int i = 0; i < plan.faults; ++i) {
    SimFault fault;
    fault.kind = random_kind(random);
    fault.at = between(random, plan.begin, plan.end);
    fault.rail = static_cast<int>(random() % static_cast<uint64_t>(plan.rails));
    fault.duration = between(random, 10 * kMicrosecond, 500 * kMicrosecond);
    fault.value = 0.05 + static_cast<double>(random() % 1000) / 1000;
    faults.push_back(fault);
    const TimeNs length = between(random, 1, std::max<TimeNs>(plan.outage, 2));
    if (plan.outage != 0) {
      faults.push_back(
          {.kind = SimFault::Kind::kRestore, .at = fault.at + length, .rail = fault.rail});
    }
  }
  std::stable_sort(faults.begin(), faults.end(),
                   [](const SimFault& a, const SimFault& b) { return a.at < b.at; });
  return faults;
}

}  // namespace railccl
