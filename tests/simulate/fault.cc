#include "tests/simulate/fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace railccl::simulate {
namespace {

using Random = std::mt19937_64;
using Sim = SimFault::Kind;

constexpr TimeNs kLongestOutage = 20 * kMillisecond;

TimeNs between(Random& random, TimeNs low, TimeNs high) {
  return high <= low ? low : low + random() % (high - low);
}

// Short ones are as frequent as long ones.
TimeNs any_length(Random& random, TimeNs low, TimeNs high) {
  TimeNs limit = low * 2;
  while (limit < high && random() % 3 != 0) limit *= 2;
  return between(random, low, std::min(limit, high));
}

bool chance(Random& random, unsigned percent) { return random() % 100 < percent; }

void choose_rail_fault(Random& random, const FaultPlan& plan, Fault& fault) {
  constexpr std::array kKinds = {Sim::kCut,
                                 Sim::kCut,
                                 Sim::kMute,
                                 Sim::kMute,
                                 Sim::kDeaf,
                                 Sim::kDeaf,
                                 Sim::kFailEndpoints,
                                 Sim::kFailEndpoints,
                                 Sim::kLateWrites,
                                 Sim::kRate,
                                 Sim::kAcknowledgeOnly,
                                 Sim::kAcknowledgeOnly,
                                 Sim::kLoseCompletions,
                                 Sim::kDuplicate,
                                 Sim::kJitter,
                                 Sim::kLoss};
  fault.rail_kind =
      plan.corruption && chance(random, 30) ? Sim::kCorrupt : kKinds[random() % kKinds.size()];
  fault.duration = any_length(random, 10 * kMicrosecond, kMillisecond);
  fault.value = 0.02 + static_cast<double>(random() % 1000) / 2000;
  fault.lasts = any_length(random, 20 * kMicrosecond, kLongestOutage);
  if (chance(random, 4)) fault.lasts = 0;
}

Fault random_fault(Random& random, const FaultPlan& plan) {
  Fault fault;
  fault.rank = static_cast<int>(random() % static_cast<uint64_t>(plan.ranks));
  fault.rail = static_cast<int>(random() % static_cast<uint64_t>(plan.rails));
  const uint64_t kind = random() % 100;
  if (kind < 80) {
    choose_rail_fault(random, plan, fault);
  } else if (kind < 87) {
    fault.kind = Fault::Kind::kFlapping;
    fault.times = static_cast<uint32_t>(2 + random() % 8);
    fault.lasts = any_length(random, 200 * kMicrosecond, kLongestOutage);
  } else if (kind < 93) {
    fault.kind = Fault::Kind::kPause;
    fault.lasts = any_length(random, 50 * kMicrosecond, kLongestOutage);
  } else if (kind < 99) {
    fault.kind = Fault::Kind::kControlStall;
    fault.lasts = any_length(random, 100 * kMicrosecond, kLongestOutage);
  } else {
    fault.kind = random() % 2 == 0 ? Fault::Kind::kDeath : Fault::Kind::kAbort;
    fault.lasts = any_length(random, 100 * kMicrosecond, kLongestOutage);
  }
  return fault;
}

std::string describe_rail_fault(const Fault& fault) {
  const SimFault as_sim{.kind = fault.rail_kind,
                        .at = fault.at,
                        .rail = fault.rail,
                        .duration = fault.duration,
                        .value = fault.value};
  const std::string lasts =
      fault.lasts == 0 ? "for ever" : fmt::format("for {} us", fault.lasts / kMicrosecond);
  return fmt::format("rank {}, {}, {}", fault.rank, to_string(as_sim), lasts);
}

// Ends by itself or does no harm that lasts.
bool harmless_for_ever(Sim kind) {
  return kind == Sim::kFailEndpoints || kind == Sim::kDuplicate || kind == Sim::kJitter ||
         kind == Sim::kRate || kind == Sim::kLateWrites || kind == Sim::kLoss;
}

}  // namespace

std::string to_string(const Fault& fault) {
  const TimeNs at = fault.at / kMicrosecond;
  const TimeNs lasts = fault.lasts / kMicrosecond;
  switch (fault.kind) {
    case Fault::Kind::kRail:
      return describe_rail_fault(fault);
    case Fault::Kind::kFlapping:
      return fmt::format("rank {}, {} us: rail {} flaps {} times within {} us", fault.rank, at,
                         fault.rail, fault.times, lasts);
    case Fault::Kind::kPause:
      return fmt::format("rank {}, {} us: stands still for {} us", fault.rank, at, lasts);
    case Fault::Kind::kControlStall:
      return fmt::format("rank {}, {} us: its control path is late by {} us", fault.rank, at,
                         lasts);
    case Fault::Kind::kDeath:
      return fmt::format("rank {}, {} us: dies, known {} us later", fault.rank, at, lasts);
    case Fault::Kind::kAbort:
      return fmt::format("rank {}, {} us: its user aborts", fault.rank, at);
  }
  return "unknown fault";
}

// Half of the faults come right after another one: in its fence, its replay, its way back.
std::vector<Fault> make_faults(const FaultPlan& plan) {
  Random random(plan.seed * 0x9e3779b97f4a7c15ull + 77);
  std::vector<Fault> faults;
  const uint64_t count = 1 + random() % 4 + (chance(random, 20) ? random() % 10 : 0);
  TimeNs before = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Fault fault = random_fault(random, plan);
    const bool close = i > 0 && chance(random, 50);
    fault.at = close ? before + any_length(random, kMicrosecond, 4 * kMillisecond)
                     : between(random, 0, plan.run_ns);
    before = fault.at;
    faults.push_back(fault);
  }
  std::stable_sort(faults.begin(), faults.end(),
                   [](const Fault& a, const Fault& b) { return a.at < b.at; });
  return faults;
}

std::vector<SimFault> rail_faults(const Fault& fault, int rails) {
  const int number = fault.rank * rails + fault.rail;
  std::vector<SimFault> list;
  if (fault.kind == Fault::Kind::kRail) {
    list.push_back({.kind = fault.rail_kind,
                    .at = fault.at,
                    .rail = number,
                    .duration = fault.duration,
                    .value = fault.value});
    if (fault.lasts != 0) {
      list.push_back({.kind = Sim::kRestore, .at = fault.at + fault.lasts, .rail = number});
    }
  }
  if (fault.kind == Fault::Kind::kFlapping) {
    const TimeNs step = fault.lasts / fault.times;
    for (uint32_t i = 0; i < fault.times; ++i) {
      const TimeNs at = fault.at + i * step;
      list.push_back({.kind = Sim::kCut, .at = at, .rail = number});
      list.push_back({.kind = Sim::kRestore, .at = at + step / 3, .rail = number});
    }
  }
  if (fault.kind == Fault::Kind::kDeath) {
    for (int rail = 0; rail < rails; ++rail) {
      list.push_back({.kind = Sim::kCut, .at = fault.at, .rail = fault.rank * rails + rail});
    }
  }
  return list;
}

bool must_succeed(const std::vector<Fault>& faults, int common_rails) {
  std::vector<bool> touched(static_cast<size_t>(common_rails), false);
  for (const Fault& fault : faults) {
    if (fault.kind == Fault::Kind::kDeath || fault.kind == Fault::Kind::kAbort) return false;
    if (fault.kind == Fault::Kind::kRail && fault.lasts == 0 && fault.rail < common_rails &&
        !harmless_for_ever(fault.rail_kind)) {
      touched[static_cast<size_t>(fault.rail)] = true;
    }
  }
  return std::any_of(touched.begin(), touched.end(), [](bool each) { return !each; });
}

TimeNs time_lost(const std::vector<Fault>& faults) {
  TimeNs lost = 0;
  for (const Fault& fault : faults) lost = std::max(lost, fault.at) + fault.lasts;
  return lost;
}

}  // namespace railccl::simulate
