#include "tests/simulate/campaign.h"

#include <algorithm>

#include "tests/simulate/expected.h"

namespace railccl::simulate {
namespace {

constexpr TimeNs kReferenceDeadline = kSecond;
// Beyond what the faults cost: pauses of rails that flap, suspicion, one round of everything.
constexpr TimeNs kRecovery = 500 * kMillisecond;
// Where an error is allowed: until every link has noticed, and the goodbyes.
constexpr TimeNs kUntilErrors = 10 * kSecond;

}  // namespace

std::string Campaign::prepare(uint64_t seed) {
  const uint64_t workload = seed / kSeedsPerWorkload;
  if (workload == prepared_) return {};
  prepared_ = ~uint64_t{0};
  auto script = make_script(workload);
  if (!script) return fmt::format("no plan: {}", script.error().message());
  script_ = std::move(*script);
  SimWorld world(*script_,
                 {.seed = workload, .record = true, .faults = {}, .deadline = kReferenceDeadline});
  reference_ = world.run();
  if (!reference_.violation.empty()) return "without faults: " + reference_.violation;
  if (reference_.failures != 0) return "without faults: a rail failed";
  const std::string wrong = check_results(*script_);
  if (!wrong.empty()) return "without faults: " + wrong;
  prepared_ = workload;
  return {};
}

SeedResult Campaign::run(uint64_t seed) {
  SeedResult result;
  result.run.violation = prepare(seed);
  if (result.failed()) return result;
  const Workload& workload = script_->workload;
  result.faults = make_faults({.seed = seed,
                               .ranks = workload.ranks,
                               .rails = static_cast<int>(workload.rails.size()),
                               .run_ns = reference_.ended_at,
                               .corruption = workload.link.check,
                               .silence_timeout_ns = workload.silence_timeout_ns});
  result.run = run_with(seed, result.faults);
  return result;
}

RunResult Campaign::run_with(uint64_t seed, const std::vector<Fault>& faults) {
  RunResult result;
  result.violation = prepare(seed);
  if (!result.violation.empty()) return result;
  const Tolerated tolerated = script_->workload.tolerated();
  const bool must = must_succeed(faults, tolerated);
  const auto times =
      static_cast<TimeNs>(std::max(20.0, times_as_long(faults, tolerated.common_rails)));
  const TimeNs deadline =
      times * reference_.ended_at + time_lost(faults) + (must ? kRecovery : kUntilErrors);
  SimWorld world(*script_,
                 {.seed = seed, .defect = defect_, .faults = faults, .deadline = deadline});
  return world.run();
}

std::vector<Fault> Campaign::minimise(uint64_t seed, std::vector<Fault> faults) {
  for (size_t i = 0; i < faults.size();) {
    std::vector<Fault> fewer = faults;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    if (run_with(seed, fewer).violation.empty()) {
      ++i;
    } else {
      faults = std::move(fewer);
      i = 0;
    }
  }
  return faults;
}

std::string Campaign::describe(uint64_t seed, const std::vector<Fault>& faults) {
  std::string text = fmt::format("seed {}: {}", seed, prepare(seed));
  if (script_ != nullptr) text += to_string(script_->workload);
  for (const Fault& fault : faults) text += "\n  " + to_string(fault);
  return text;
}

}  // namespace railccl::simulate
