#include "tests/simulate/fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

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
  if (fault.rail_kind == Sim::kRate && chance(random, 50)) fault.value /= 8;  // slow
  fault.lasts = any_length(random, 20 * kMicrosecond, kLongestOutage);
  if (chance(random, 4)) fault.lasts = 0;
}

// A third of the faults wait for something to happen to which they are a bad sequel.
void choose_phase(Random& random, const FaultPlan& plan, Fault& fault) {
  if (!chance(random, 34)) return;
  fault.phase = static_cast<Fault::Phase>(1 + random() % (kPhases - 1));
  const bool long_phase =
      fault.phase == Fault::Phase::kInit || fault.phase == Fault::Phase::kFinalize;
  fault.after = random() % (long_phase ? plan.run_ns / 8 + 1 : 2 * kMicrosecond);
}

Fault random_fault(Random& random, const FaultPlan& plan) {
  Fault fault;
  choose_phase(random, plan, fault);
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
    if (chance(random, 4)) fault.lasts = between(random, 1, 3 * plan.silence_timeout_ns);
  } else if (kind < 98) {
    fault.kind = Fault::Kind::kControlStall;
    fault.lasts = any_length(random, 100 * kMicrosecond, kLongestOutage);
  } else {
    constexpr std::array kEnds = {Fault::Kind::kDeath, Fault::Kind::kVanish, Fault::Kind::kAbort};
    fault.kind = kEnds[random() % kEnds.size()];
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

std::string describe(const Fault& fault) {
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
      return fmt::format("rank {}, {} us: dies", fault.rank, at);
    case Fault::Kind::kVanish:
      return fmt::format("rank {}, {} us: its host is gone", fault.rank, at);
    case Fault::Kind::kAbort:
      return fmt::format("rank {}, {} us: its user aborts", fault.rank, at);
  }
  return "unknown fault";
}

}  // namespace

std::string_view name_of(Fault::Kind kind) {
  constexpr std::array<std::string_view, kFaultKinds> kNames = {
      "rail", "flapping", "pause", "control stall", "death", "vanish", "abort"};
  return kNames[static_cast<size_t>(kind)];
}

std::string_view name_of(Fault::Phase phase) {
  constexpr std::array<std::string_view, kPhases> kNames = {"any time", "init",   "ready exchange",
                                                            "fence",    "replay", "finalize"};
  return kNames[static_cast<size_t>(phase)];
}

std::string to_string(const Fault& fault) {
  if (fault.phase == Fault::Phase::kAny) return describe(fault);
  return fmt::format("{} ns after the next {}: {}", fault.after, name_of(fault.phase),
                     describe(fault));
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
    if (fault.phase == Fault::Phase::kInit) fault.at = 0;
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
  if (fault.kind == Fault::Kind::kDeath || fault.kind == Fault::Kind::kVanish) {
    for (int rail = 0; rail < rails; ++rail) {
      list.push_back({.kind = Sim::kCut, .at = fault.at, .rail = fault.rank * rails + rail});
    }
  }
  return list;
}

bool must_succeed(const std::vector<Fault>& faults, const Tolerated& tolerated) {
  std::vector<bool> touched(static_cast<size_t>(tolerated.common_rails), false);
  std::map<int, TimeNs> silent;  // by rank: at most for so long at a time
  for (const Fault& fault : faults) {
    const bool stays_silent =
        fault.kind == Fault::Kind::kPause || fault.kind == Fault::Kind::kControlStall;
    if (stays_silent) silent[fault.rank] += fault.lasts;
    if (silent[fault.rank] > tolerated.silence_timeout_ns / 2) return false;
    if (fault.kind == Fault::Kind::kDeath || fault.kind == Fault::Kind::kVanish ||
        fault.kind == Fault::Kind::kAbort) {
      return false;
    }
    if (fault.kind == Fault::Kind::kRail && fault.lasts == 0 &&
        fault.rail < tolerated.common_rails && !harmless_for_ever(fault.rail_kind)) {
      touched[static_cast<size_t>(fault.rail)] = true;
    }
  }
  return std::any_of(touched.begin(), touched.end(), [](bool each) { return !each; });
}

TimeNs time_lost(const std::vector<Fault>& faults) {
  TimeNs lost = 0;
  for (const Fault& fault : faults) lost = std::max(lost, fault.at) + fault.after + fault.lasts;
  return lost;
}

double times_as_long(const std::vector<Fault>& faults, int common_rails) {
  std::vector<double> times(static_cast<size_t>(std::max(common_rails, 1)), 1);
  for (const Fault& fault : faults) {
    const bool slow = fault.kind == Fault::Kind::kRail && fault.rail_kind == SimFault::Kind::kRate;
    if (!slow || fault.lasts != 0 || fault.value <= 0 || fault.rail >= common_rails) continue;
    double& of_rail = times[static_cast<size_t>(fault.rail)];
    of_rail = std::max(of_rail, 1 / fault.value);
  }
  return *std::ranges::min_element(times);
}

}  // namespace railccl::simulate
