// Seeds: what each one runs, whether it passes, and the shortest list of faults with which it still
// fails. A seed decides everything; seeds that share their quotient by kSeedsPerWorkload share the
// workload, so that the run without faults is made once for them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/simulate/sim_world.h"

namespace railccl::simulate {

constexpr uint64_t kSeedsPerWorkload = 8;

struct SeedResult {
  std::vector<Fault> faults;
  RunResult run;
  bool failed() const { return !run.violation.empty(); }
};

class Campaign {
 public:
  explicit Campaign(Defect defect = Defect::kNone) : defect_(defect) {}

  SeedResult run(uint64_t seed);
  // The same seed with other faults.
  RunResult run_with(uint64_t seed, const std::vector<Fault>& faults);
  // Leaves out faults as long as the seed fails.
  std::vector<Fault> minimise(uint64_t seed, std::vector<Fault> faults);
  // Of the seed that was run last; null: it could not be made.
  const Workload* workload() const { return script_ == nullptr ? nullptr : &script_->workload; }
  // What the seed does, for people.
  std::string describe(uint64_t seed, const std::vector<Fault>& faults);

 private:
  // Empty: the workload's run without faults was right.
  std::string prepare(uint64_t seed);

  Defect defect_;
  uint64_t prepared_ = ~uint64_t{0};
  std::unique_ptr<Script> script_;
  RunResult reference_;
};

}  // namespace railccl::simulate
