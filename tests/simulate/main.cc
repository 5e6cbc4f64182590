// simulate: collectives of many ranks over simulated rails that fail, in one thread and on a
// virtual clock. A seed decides everything and replays exactly (docs/failover.md).
#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include "src/base/log.h"
#include "src/base/trace.h"
#include "tests/simulate/campaign.h"

namespace railccl::simulate {
namespace {

struct Options {
  std::optional<uint64_t> seed;
  std::string seeds = "1..1000";
  std::string defect;
  bool minimise = false;
  bool log = false;
};

struct Range {
  uint64_t first = 1;
  uint64_t last = 0;
};

std::optional<Range> parse_range(const std::string& text) {
  Range range;
  unsigned long long first = 0;
  unsigned long long last = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%llu..%llu%c", &first, &last, &rest) != 2 || last < first) {
    return std::nullopt;
  }
  range.first = first;
  range.last = last;
  return range;
}

void print_failure(Campaign& campaign, uint64_t seed, const SeedResult& result, bool minimise) {
  fmt::print("{}\n  violation {}\n", campaign.describe(seed, result.faults), result.run.violation);
  if (!minimise || result.faults.empty()) return;
  const std::vector<Fault> fewer = campaign.minimise(seed, result.faults);
  fmt::print("minimised, {}\n  violation {}\n", campaign.describe(seed, fewer),
             campaign.run_with(seed, fewer).violation);
}

int run_one(const Options& options, Defect defect) {
  Campaign campaign(defect);
  const uint64_t seed = *options.seed;
  const SeedResult result = campaign.run(seed);
  if (result.failed()) {
    print_failure(campaign, seed, result, options.minimise);
    return 1;
  }
  fmt::print("{}\n{} at {} us: {} failures of rails, {} recoveries, {} bytes replayed{}\n",
             campaign.describe(seed, result.faults), "ended", result.run.ended_at / kMicrosecond,
             result.run.failures, result.run.recoveries, result.run.replayed_bytes,
             result.run.error.is_ok() ? std::string(", right results")
                                      : fmt::format(", error: {}", result.run.error.message()));
  return 0;
}

struct Totals {
  uint64_t seeds = 0;
  uint64_t failed = 0;
  uint64_t errors = 0;
  RunResult sum;  // of the counts
  // Seeds in which there was one.
  std::array<uint64_t, kFaultKinds> faults{};
  std::array<uint64_t, kRailFaultKinds> rail_faults{};
  std::array<uint64_t, kPhases> in_phase{};
  std::map<size_t, uint64_t> rails;
  std::map<int, uint64_t> ranks;

  void add(const SeedResult& result, const Workload* workload) {
    ++seeds;
    failed += result.failed() ? 1 : 0;
    errors += result.run.error.is_ok() ? 0 : 1;
    sum.failures += result.run.failures;
    sum.recoveries += result.run.recoveries;
    sum.posted_again += result.run.posted_again;
    sum.replayed_bytes += result.run.replayed_bytes;
    sum.pictures += result.run.pictures;
    sum.demotions += result.run.demotions;
    sum.promotions += result.run.promotions;
    count(result.run.faults, faults);
    count(result.run.rail_faults, rail_faults);
    count(result.run.in_phase, in_phase);
    if (workload == nullptr) return;
    ++rails[workload->rails.size()];
    ++ranks[workload->ranks];
  }
  template <size_t n>
  static void count(const std::array<uint64_t, n>& of_seed, std::array<uint64_t, n>& seeds) {
    for (size_t i = 0; i < n; ++i) seeds[i] += of_seed[i] > 0 ? 1 : 0;
  }
  // What was never met; empty: nothing.
  std::string missing() const;
  void print(double seconds) const;
};

// A port that comes back is no fault of its own.
constexpr auto kRestored = static_cast<size_t>(SimFault::Kind::kRestore);

std::string Totals::missing() const {
  std::string text;
  const auto need = [&text](uint64_t number, std::string_view what) {
    if (number == 0) text += fmt::format("{}{}", text.empty() ? "" : ", ", what);
  };
  for (size_t i = 0; i < faults.size(); ++i) need(faults[i], name_of(static_cast<Fault::Kind>(i)));
  for (size_t i = 0; i < rail_faults.size(); ++i) {
    if (i != kRestored) need(rail_faults[i], name_of(static_cast<SimFault::Kind>(i)));
  }
  for (size_t i = 0; i < in_phase.size(); ++i) {
    need(in_phase[i], name_of(static_cast<Fault::Phase>(i)));
  }
  for (size_t i = 1; i <= 8; ++i) {
    need(rails.contains(i) ? 1 : 0, fmt::format("{} rails", i));
  }
  need(ranks.contains(2) ? 1 : 0, "2 ranks");
  need(ranks.contains(64) ? 1 : 0, "64 ranks");
  need(sum.failures, "rails that failed");
  need(sum.recoveries, "rails that came back");
  need(sum.pictures, "changes of picture");
  need(sum.demotions, "slow rails");
  need(sum.promotions, "rails that are no longer slow");
  return text;
}

void Totals::print(double seconds) const {
  fmt::print(
      "{} seeds, {} violations in {:.0f} s: {} rail failures, {} recoveries, {} chunks and "
      "messages posted again, {} bytes replayed, {} rails demoted and {} promoted, {} changes of "
      "picture, {} runs ended with an allowed error\n",
      seeds, failed, seconds, sum.failures, sum.recoveries, sum.posted_again, sum.replayed_bytes,
      sum.demotions, sum.promotions, sum.pictures, errors);
  fmt::print("seeds with a fault in/at:");
  for (size_t i = 0; i < in_phase.size(); ++i) {
    fmt::print(" {} {},", name_of(static_cast<Fault::Phase>(i)), in_phase[i]);
  }
  fmt::print("\nof ranks and paths:");
  for (size_t i = 1; i < faults.size(); ++i) {
    fmt::print(" {} {},", name_of(static_cast<Fault::Kind>(i)), faults[i]);
  }
  fmt::print("\nof rails:");
  for (size_t i = 0; i < rail_faults.size(); ++i) {
    if (i != kRestored) {
      fmt::print(" {} {},", name_of(static_cast<SimFault::Kind>(i)), rail_faults[i]);
    }
  }
  fmt::print("\nseeds with so many rails:");
  for (const auto& [number, count] : rails) fmt::print(" {}: {},", number, count);
  fmt::print("\nranks: {} to {}\n", ranks.begin()->first, ranks.rbegin()->first);
}

int run_many(const Options& options, const Range& range, Defect defect) {
  constexpr uint64_t kShown = 5;
  constexpr uint64_t kWholeCampaign = 10'000;
  Campaign campaign(defect);
  Totals totals;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t seed = range.first; seed <= range.last; ++seed) {
    const SeedResult result = campaign.run(seed);
    totals.add(result, campaign.workload());
    if (!result.failed()) continue;
    if (defect != Defect::kNone) {
      fmt::print("defect {} caught at seed {} ({} seeds): {}\n", defect_name(defect), seed,
                 totals.seeds, result.run.violation);
      return 0;
    }
    if (totals.failed <= kShown) print_failure(campaign, seed, result, options.minimise);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  totals.print(seconds);
  if (defect != Defect::kNone) {
    fmt::print("defect {} was not caught\n", defect_name(defect));
    return 1;
  }
  // A campaign that has not met everything says less than it seems to.
  const std::string missing = totals.seeds < kWholeCampaign ? "" : totals.missing();
  if (!missing.empty()) fmt::print("never met: {}\n", missing);
  return totals.failed == 0 && missing.empty() ? 0 : 1;
}

}  // namespace
}  // namespace railccl::simulate

int main(int argc, char** argv) {
  using namespace railccl;
  using namespace railccl::simulate;
  CLI::App app("Collectives over simulated rails that fail; a seed replays exactly");
  Options options;
  app.add_option("--seed", options.seed, "one seed; prints what goes wrong in it");
  app.add_option("--seeds", options.seeds, "a range of seeds, A..B")->capture_default_str();
  app.add_flag("--minimise", options.minimise, "shorten the list of faults of a seed that fails");
  app.add_option("--defect", options.defect, "make this mistake, and end when it is caught");
  app.add_flag("--log", options.log, "print what the library logs");
  CLI11_PARSE(app, argc, argv);
  Defect defect = Defect::kNone;
  if (!options.defect.empty()) {
    const auto found = defect_by_name(options.defect);
    if (!found) {
      std::string names;
      for (const Defect each : all_defects()) names += fmt::format(" {}", defect_name(each));
      fmt::print(stderr, "unknown defect '{}'; there are:{}\n", options.defect, names);
      return 2;
    }
    defect = *found;
  }
  const auto range = parse_range(options.seeds);
  if (!range) {
    fmt::print(stderr, "--seeds {}: wanted A..B\n", options.seeds);
    return 2;
  }
  set_trace_enabled(false);
  const LogCapture quiet(options.log ? LogLevel::kInfo : LogLevel::kNone, kAllSubsystems,
                         [](LogLevel, std::string_view line) { fmt::print("    {}\n", line); });
  return options.seed ? run_one(options, defect) : run_many(options, *range, defect);
}
