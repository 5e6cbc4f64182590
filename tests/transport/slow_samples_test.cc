// When a slow rail is fast again (slow_samples.h).
#include "transport/slow_samples.h"

#include <gtest/gtest.h>

namespace railccl {
namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kConvincing = 1024 * kKiB;

TEST(SlowSamples, EachFastOneIsFollowedByOneOfTwiceTheSize) {
  SlowSamples samples(kConvincing);
  EXPECT_EQ(samples.least_bytes(), 0u);
  for (const uint64_t bytes : {64 * kKiB, 128 * kKiB, 256 * kKiB}) {
    EXPECT_FALSE(samples.add(bytes, true));
    EXPECT_EQ(samples.least_bytes(), 2 * bytes);
  }
  EXPECT_FALSE(samples.add(512 * kKiB, true)) << "960 KiB so far";
  EXPECT_EQ(samples.least_bytes(), kConvincing);
  EXPECT_TRUE(samples.add(kConvincing, true));
}

TEST(SlowSamples, ASlowOneBeginsAnew) {
  SlowSamples samples(kConvincing);
  EXPECT_FALSE(samples.add(512 * kKiB, true));
  EXPECT_FALSE(samples.add(64 * kKiB, false));
  EXPECT_EQ(samples.least_bytes(), 0u);
  EXPECT_FALSE(samples.add(512 * kKiB, true));
  EXPECT_TRUE(samples.add(512 * kKiB, true));
}

// 68 KiB at once after each pause, then 1.25 bytes a microsecond; 10 bytes a microsecond is fast.
TEST(SlowSamples, ATokenBucketNeverLooksFastForLong) {
  SlowSamples samples(kConvincing);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t bytes = std::max(64 * kKiB, samples.least_bytes());
    const double beyond = static_cast<double>(bytes) - 68.0 * 1024;
    const double microseconds = 10 + std::max(0.0, beyond) / 1.25;
    EXPECT_FALSE(samples.add(bytes, static_cast<double>(bytes) / microseconds > 10));
  }
}

}  // namespace
}  // namespace railccl
