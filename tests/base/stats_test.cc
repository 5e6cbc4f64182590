#include "src/base/stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace railccl {
namespace {

constexpr uint64_t kSeed = 20240601;

// The oracle: the value at that rank of the sorted samples.
uint64_t exact_percentile(std::vector<uint64_t> samples, double percent) {
  std::sort(samples.begin(), samples.end());
  const auto rank = static_cast<size_t>(
      std::max(1.0, std::ceil(percent / 100 * static_cast<double>(samples.size()))));
  return samples[rank - 1];
}

TEST(Histogram, IsEmptyAtFirst) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.percentile(50), 0u);
  EXPECT_EQ(histogram.min(), 0u);
  EXPECT_EQ(histogram.max(), 0u);
  EXPECT_EQ(histogram.mean(), 0);
}

TEST(Histogram, IsExactForSmallValues) {
  Histogram histogram;
  for (uint64_t value = 0; value < 32; ++value) histogram.add(value);
  for (uint64_t value = 0; value < 32; ++value) {
    EXPECT_EQ(histogram.percentile(100.0 * static_cast<double>(value + 1) / 32), value);
  }
  EXPECT_DOUBLE_EQ(histogram.mean(), 15.5);
}

TEST(Histogram, StaysWithinItsErrorOverTheWholeRange) {
  std::mt19937_64 random(kSeed);
  std::vector<uint64_t> samples;
  Histogram histogram;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t value = random() >> (random() % 64);
    samples.push_back(value);
    histogram.add(value);
  }
  EXPECT_EQ(histogram.min(), *std::min_element(samples.begin(), samples.end()));
  EXPECT_EQ(histogram.max(), *std::max_element(samples.begin(), samples.end()));
  for (const double percent : {0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    const auto exact = static_cast<double>(exact_percentile(samples, percent));
    EXPECT_NEAR(static_cast<double>(histogram.percentile(percent)), exact,
                exact * Histogram::kRelativeError)
        << "percentile " << percent << ", seed " << kSeed;
  }
}

TEST(Histogram, HasBucketsThatCoverEveryValueOnce) {
  Histogram histogram;
  std::vector<uint64_t> edges = {0, std::numeric_limits<uint64_t>::max()};
  for (int bit = 1; bit < 64; ++bit) {
    for (const uint64_t value : {(uint64_t{1} << bit) - 1, uint64_t{1} << bit})
      edges.push_back(value);
  }
  for (const uint64_t value : edges) histogram.add(value);
  uint64_t next = 0;
  uint64_t covered = 0;
  histogram.for_each_bucket([&](uint64_t low, uint64_t high, uint64_t count) {
    EXPECT_GE(low, next);
    EXPECT_GE(high, low);
    const auto inside = std::count_if(
        edges.begin(), edges.end(), [&](uint64_t value) { return value >= low && value <= high; });
    EXPECT_EQ(count, static_cast<uint64_t>(inside)) << low << ".." << high;
    next = high + 1;
    covered += count;
  });
  EXPECT_EQ(covered, edges.size());
}

TEST(Histogram, MergesToWhatOneWouldHaveSeen) {
  std::mt19937_64 random(kSeed);
  Histogram left;
  Histogram right;
  Histogram both;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = random() % 1000000;
    (i % 3 == 0 ? left : right).add(value);
    both.add(value);
  }
  left.merge(right);
  left.merge(Histogram());
  EXPECT_EQ(left.count(), both.count());
  EXPECT_EQ(left.min(), both.min());
  EXPECT_EQ(left.max(), both.max());
  EXPECT_NEAR(left.mean(), both.mean(), 1e-6);
  for (int percent = 0; percent <= 100; ++percent) {
    EXPECT_EQ(left.percentile(percent), both.percentile(percent)) << percent;
  }
}

TEST(Histogram, CountsManyAtOnceAndIgnoresNone) {
  Histogram histogram;
  histogram.add(7, 0);
  EXPECT_EQ(histogram.count(), 0u);
  histogram.add(7, 3);
  histogram.add(100, 1);
  EXPECT_EQ(histogram.count(), 4u);
  EXPECT_EQ(histogram.percentile(75), 7u);
  EXPECT_DOUBLE_EQ(histogram.mean(), 30.25);
}

TEST(MovingMean, StartsAtTheFirstSampleAndMovesByItsShare) {
  MovingMean mean(0.25);
  EXPECT_TRUE(mean.empty());
  mean.add(100);
  EXPECT_DOUBLE_EQ(mean.value(), 100);
  mean.add(200);
  EXPECT_DOUBLE_EQ(mean.value(), 125);
  mean.add(125);
  EXPECT_DOUBLE_EQ(mean.value(), 125);
}

constexpr double kGigabyte = 1e9;  // one byte per nanosecond

TEST(RateMeter, GivesWhatIsKnownBeforehandUntilItHasMeasured) {
  RateMeter meter({.initial_bytes_per_second = kGigabyte});
  EXPECT_EQ(meter.bytes_per_second(12345), kGigabyte);
  EXPECT_FALSE(meter.measured());
}

// Ten chunks posted at once, one delivered every 100 us: each waits in the queue up to 1 ms, and
// the rate is still one chunk per 100 us.
TEST(RateMeter, DoesNotCountQueueingTwice) {
  RateMeter meter({.window_ns = kMillisecond});
  for (int i = 0; i < 10; ++i) meter.on_posted(100000, 0);
  for (TimeNs i = 1; i <= 10; ++i) meter.on_delivered(100000, i * 100 * kMicrosecond);
  EXPECT_TRUE(meter.measured());
  EXPECT_NEAR(meter.bytes_per_second(kMillisecond), kGigabyte, 1);
  EXPECT_EQ(meter.busy_ns(5 * kMillisecond), kMillisecond);
  EXPECT_EQ(meter.bytes_delivered(), 1000000u);
  EXPECT_EQ(meter.bytes_in_flight(), 0u);
}

TEST(RateMeter, DoesNotCountIdleTime) {
  RateMeter meter({.window_ns = kMillisecond});
  for (TimeNs round = 0; round < 20; ++round) {
    const TimeNs start = round * kSecond;
    meter.on_posted(300000, start);
    meter.on_delivered(300000, start + 300 * kMicrosecond);
  }
  EXPECT_NEAR(meter.bytes_per_second(40 * kSecond), kGigabyte, 1);
  EXPECT_EQ(meter.busy_ns(40 * kSecond), 20 * 300 * kMicrosecond);
}

TEST(RateMeter, FollowsASlowdownAfterItsMemoryAndASpeedUpAtOnce) {
  RateMeter meter({.window_ns = kMillisecond, .memory_ns = 10 * kMillisecond});
  TimeNs now = 0;
  const auto carry = [&](uint64_t bytes_per_ms, int milliseconds) {
    for (int i = 0; i < milliseconds; ++i) {
      meter.on_posted(bytes_per_ms, now);
      now += kMillisecond;
      meter.on_delivered(bytes_per_ms, now);
    }
  };
  carry(1000000, 10);
  EXPECT_NEAR(meter.bytes_per_second(now), kGigabyte, 1);
  carry(500000, 9);
  EXPECT_NEAR(meter.bytes_per_second(now), kGigabyte, 1);
  carry(500000, 11);
  EXPECT_NEAR(meter.bytes_per_second(now), kGigabyte / 2, 1);
  carry(2000000, 1);
  EXPECT_NEAR(meter.bytes_per_second(now), 2 * kGigabyte, 1);
}

TEST(RateMeter, AHostThatLooksAwayDoesNotMakeTheRailSlow) {
  RateMeter meter({.window_ns = kMillisecond, .memory_ns = 100 * kMillisecond});
  TimeNs now = 0;
  for (int i = 0; i < 10; ++i) {
    meter.on_posted(1000000, now);
    now += kMillisecond;
    meter.on_delivered(1000000, now);
  }
  meter.on_posted(1000000, now);
  now += 50 * kMillisecond;
  meter.on_delivered(1000000, now);
  EXPECT_NEAR(meter.bytes_per_second(now), kGigabyte, 1);
}

// One chunk a millisecond, all the time; but for ten of them nothing is heard, then one comes, and
// the others in one go at the beginning of the next window.
TEST(RateMeter, DeliveriesReportedTogetherDoNotMakeTheRailFast) {
  RateMeter meter({.window_ns = 10 * kMillisecond});
  TimeNs now = 0;
  const auto carry = [&](int delivered) {
    meter.on_posted(100000, now);
    now += kMillisecond;
    for (int i = 0; i < delivered; ++i) meter.on_delivered(100000, now);
  };
  for (int i = 0; i < 50; ++i) carry(1);
  for (int i = 0; i < 9; ++i) carry(0);
  carry(1);
  carry(10);
  for (int i = 0; i < 40; ++i) carry(1);
  EXPECT_NEAR(meter.bytes_per_second(now), 1e8, 0.1e8);
}

TEST(RateMeter, FallsWhileTheRailStalls) {
  RateMeter meter({.initial_bytes_per_second = kGigabyte,
                   .window_ns = kMillisecond,
                   .memory_ns = 10 * kMillisecond});
  meter.on_posted(1000000, 0);
  meter.on_posted(1000, 0);
  meter.on_delivered(1000, kMicrosecond);
  EXPECT_EQ(meter.bytes_per_second(10 * kMillisecond), kGigabyte);
  EXPECT_NEAR(meter.bytes_per_second(20 * kMillisecond), 1000 / 0.02, 1);
  EXPECT_NEAR(meter.bytes_per_second(200 * kMillisecond), 1000 / 0.2, 1);
}

TEST(RateMeter, LostBytesLeaveTheFlightButTheirTimeCounts) {
  RateMeter meter({.window_ns = kMillisecond});
  meter.on_posted(500000, 0);
  meter.on_posted(500000, 0);
  meter.on_lost(500000, 500 * kMicrosecond);
  EXPECT_EQ(meter.bytes_in_flight(), 500000u);
  meter.on_delivered(500000, kMillisecond);
  EXPECT_EQ(meter.bytes_in_flight(), 0u);
  EXPECT_NEAR(meter.bytes_per_second(kMillisecond), kGigabyte / 2, 1);
}

TEST(RateMeter, SurvivesTimesThatGoBackAndBytesThatWereNeverPosted) {
  RateMeter meter({.window_ns = kMillisecond});
  meter.on_posted(1000, kSecond);
  meter.on_delivered(5000, kMillisecond);
  EXPECT_EQ(meter.bytes_in_flight(), 0u);
  EXPECT_EQ(meter.busy_ns(2 * kSecond), 0u);
  EXPECT_EQ(meter.bytes_per_second(0), 0);
}

}  // namespace
}  // namespace railccl
