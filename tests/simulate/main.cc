// simulate: collectives of many ranks over simulated rails that fail, in one thread and on a
// virtual clock. A seed decides everything and replays exactly (docs/failover.md).
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
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
  uint64_t rail_failures = 0;
  uint64_t recoveries = 0;
  uint64_t posted_again = 0;
  uint64_t replayed_bytes = 0;

  void add(const SeedResult& result) {
    ++seeds;
    failed += result.failed() ? 1 : 0;
    errors += result.run.error.is_ok() ? 0 : 1;
    rail_failures += result.run.failures;
    recoveries += result.run.recoveries;
    posted_again += result.run.posted_again;
    replayed_bytes += result.run.replayed_bytes;
  }
};

int run_many(const Options& options, const Range& range, Defect defect) {
  constexpr uint64_t kShown = 5;
  Campaign campaign(defect);
  Totals totals;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t seed = range.first; seed <= range.last; ++seed) {
    const SeedResult result = campaign.run(seed);
    totals.add(result);
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
  fmt::print(
      "{} seeds, {} violations in {:.0f} s: {} rail failures, {} recoveries, {} chunks and "
      "messages posted again, {} bytes replayed, {} runs ended with an allowed error\n",
      totals.seeds, totals.failed, seconds, totals.rail_failures, totals.recoveries,
      totals.posted_again, totals.replayed_bytes, totals.errors - 0);
  if (defect != Defect::kNone) {
    fmt::print("defect {} was not caught\n", defect_name(defect));
    return 1;
  }
  // A campaign in which nothing failed says nothing.
  return totals.failed == 0 && (totals.seeds < 100 || totals.rail_failures > 0) ? 0 : 1;
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
