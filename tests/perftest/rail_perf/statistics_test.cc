#include "perftest/rail_perf/statistics.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

namespace railccl::perftest::railperf {
namespace {

// By definition, over every stretch.
double slow_peak(const std::vector<uint64_t>& posted, const std::vector<uint64_t>& done) {
  double peak = 0;
  for (size_t i = 0; i < done.size(); ++i) {
    for (size_t j = i; j < done.size(); ++j) {
      peak =
          std::max(peak, static_cast<double>(j + 1 - i) / static_cast<double>(done[j] - posted[i]));
    }
  }
  return peak;
}

TEST(PeakRate, IsTheBestStretch) {
  // Two puts in 100 ns, then two in 20 ns.
  const std::vector<uint64_t> posted = {1000, 1050, 1100, 1110};
  const std::vector<uint64_t> done = {1050, 1100, 1110, 1120};
  EXPECT_DOUBLE_EQ(peak_rate(posted, done), 0.1);
  EXPECT_EQ(peak_rate({}, {}), 0);
}

TEST(PeakRate, EqualsTheDefinitionForRandomRuns) {
  std::mt19937 random(7);
  for (int run = 0; run < 200; ++run) {
    const size_t window = 1 + random() % 8;
    std::vector<uint64_t> posted;
    std::vector<uint64_t> done;
    uint64_t now = 1'000'000;
    // Bursts: as many are posted as the window allows, some are done at once.
    while (done.size() < 100) {
      while (posted.size() < 100 && posted.size() - done.size() < window) posted.push_back(now);
      now += 1 + random() % 50;
      const size_t ends = 1 + random() % (posted.size() - done.size());
      for (size_t i = 0; i < ends; ++i) done.push_back(now);
    }
    EXPECT_NEAR(peak_rate(posted, done), slow_peak(posted, done), 1e-12) << "run " << run;
  }
}

TEST(RoundTrips, HalvesThemAndKeepsRealPercentiles) {
  RoundTrips trips;
  for (uint64_t us = 1; us <= 1000; ++us) trips.add(us * 2000);  // halves: 1 to 1000 us
  EXPECT_EQ(trips.count(), 1000u);
  const IterationStats half = trips.half();
  EXPECT_EQ(half.min, 1);
  EXPECT_EQ(half.max, 1000);
  EXPECT_EQ(half.mean, 500.5);
  EXPECT_EQ(half.p50, 500);
  EXPECT_EQ(half.p99, 990);
  EXPECT_EQ(half.p999, 999);
  trips.clear();
  EXPECT_EQ(trips.count(), 0u);
  EXPECT_EQ(trips.half().max, 0);
}

TEST(RoundTrips, BeyondWhatIsKeptTheChoiceIsFairAndTheExtremesAreExact) {
  RoundTrips trips;
  const uint64_t count = 4 * RoundTrips::kMostKept;
  for (uint64_t i = 0; i < count; ++i) trips.add(2000 * (i + 1));
  const IterationStats half = trips.half();
  EXPECT_EQ(trips.count(), count);
  EXPECT_EQ(half.min, 1);
  EXPECT_EQ(half.max, static_cast<double>(count));
  // The median of a fair choice of a million lies within a percent of that of all.
  EXPECT_NEAR(half.p50 / static_cast<double>(count), 0.5, 0.01);
}

}  // namespace
}  // namespace railccl::perftest::railperf
