// Thousand-rank communicators, all schedules verified together; and one rank's schedule of very
// large ones, which must stay small.
#include <gtest/gtest.h>

#include "algorithms/verifier.h"
#include "tests/algorithms/shapes.h"

namespace railccl {
namespace {

// Steps of all ranks in the square of their number; verified at full size under label `full`.
bool is_quadratic(const Algorithm& algorithm) {
  const bool chain =
      algorithm.collective == Collective::kBroadcast || algorithm.collective == Collective::kReduce;
  if (algorithm.name == "ring" || algorithm.name == "hierarchical") return !chain;
  return algorithm.name == "local" || algorithm.name == "bruck" ||
         algorithm.collective == Collective::kAllToAll;
}

TEST(Scale, ThousandRanks) {
  for (const Algorithm& algorithm : catalog()) {
    size_t verified = 0;
    const bool quadratic = is_quadratic(algorithm);
    for (const int ranks : {quadratic ? 125 : 1000, quadratic ? 128 : 1024}) {
      for (const NamedLayout& layout : large_layouts(ranks)) {
        const Shape shape = large_shape(algorithm.collective, layout);
        if (!algorithm.unsuitable(shape).empty()) continue;
        const Status status = verify_algorithm(algorithm, shape);
        EXPECT_TRUE(status.is_ok())
            << describe(algorithm, shape, layout) << ": " << status.message();
        ++verified;
      }
    }
    EXPECT_GE(verified, 2u) << algorithm.name;
  }
}

// One rank's schedule takes steps, and so time and memory, in the logarithm of the ranks.
TEST(Scale, HundredThousandRanks) {
  constexpr int kRanks = 100'000;
  constexpr int kLevels = 17;
  for (const std::string_view name :
       {"tree", "doubling", "hierarchical-doubling", "hierarchical-halving"}) {
    const Algorithm& algorithm = *find_algorithm(Collective::kAllReduce, name);
    size_t generated = 0;
    for (const NamedLayout& layout : large_layouts(kRanks)) {
      const Shape shape = large_shape(Collective::kAllReduce, layout);
      if (layout.layout->nodes() == 1 || !algorithm.unsuitable(shape).empty()) continue;
      for (const int rank : {0, 1, kRanks / 2, kRanks - 1}) {
        const Schedule schedule = algorithm.generate(shape, rank);
        EXPECT_GT(schedule.steps.size(), 0u);
        EXPECT_LE(schedule.steps.size(), 8u * kLevels) << name << " " << layout.name;
        EXPECT_LE(schedule.slices.size(), 8u * kLevels) << name << " " << layout.name;
        ++generated;
      }
    }
    EXPECT_EQ(generated, 12u);
  }
}

}  // namespace
}  // namespace railccl
