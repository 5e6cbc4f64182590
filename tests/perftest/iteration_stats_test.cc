#include "perftest/common/iteration_stats.h"

#include <gtest/gtest.h>

#include <vector>

namespace railccl::perftest {
namespace {

TEST(IterationStats, NearestRankPercentiles) {
  std::vector<double> times;
  for (int i = 1000; i >= 1; --i) times.push_back(i);
  const IterationStats stats = iteration_stats(times);
  EXPECT_EQ(stats.min, 1);
  EXPECT_EQ(stats.max, 1000);
  EXPECT_EQ(stats.mean, 500.5);
  EXPECT_EQ(stats.p50, 500);
  EXPECT_EQ(stats.p95, 950);
  EXPECT_EQ(stats.p99, 990);
  EXPECT_EQ(stats.p999, 999);
}

TEST(IterationStats, FewSamples) {
  const std::vector<double> times = {2, 4, 4, 4, 5, 5, 7, 9};
  const IterationStats stats = iteration_stats(times);
  EXPECT_EQ(stats.mean, 5);
  EXPECT_EQ(stats.stdev, 2);
  EXPECT_EQ(stats.variation_percent(), 40);
  EXPECT_EQ(stats.p99, 9);
  const std::vector<double> one = {3};
  EXPECT_EQ(iteration_stats(one).p50, 3);
  EXPECT_EQ(iteration_stats({}).max, 0);
  EXPECT_EQ(iteration_stats({}).variation_percent(), 0);
}

}  // namespace
}  // namespace railccl::perftest
