#include "perftest/common/sizes.h"

#include <gmock/gmock.h>

namespace railccl::perftest {
namespace {

using testing::ElementsAre;

TEST(ParseSize, ReadsBinaryUnits) {
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("8"), 8u);
  EXPECT_EQ(parse_size("8B"), 8u);
  EXPECT_EQ(parse_size("64K"), 65536u);
  EXPECT_EQ(parse_size("64k"), 65536u);
  EXPECT_EQ(parse_size("1.5M"), 1572864u);
  EXPECT_EQ(parse_size("2MB"), 2097152u);
  EXPECT_EQ(parse_size("2GiB"), 2147483648u);
  EXPECT_EQ(parse_size("16g"), 17179869184u);
}

TEST(ParseSize, RefusesWhatIsNoSize) {
  for (const char* text : {"", "K", "x", "-1", "-0", "1T", "1KK", "1 K", "nan", "inf", "1e30",
                           "8589934592G", "0x10", "1Kib"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
}

TEST(SizeSequence, AddsOrMultiplies) {
  EXPECT_THAT(size_sequence({.min_bytes = 8, .max_bytes = 64, .step_factor = 2}),
              ElementsAre(8, 16, 32, 64));
  EXPECT_THAT(size_sequence({.min_bytes = 8, .max_bytes = 63, .step_factor = 2}),
              ElementsAre(8, 16, 32));
  EXPECT_THAT(size_sequence({.min_bytes = 100, .max_bytes = 300, .step_bytes = 100}),
              ElementsAre(100, 200, 300));
}

TEST(SizeSequence, EndsWhereItDoesNotGrow) {
  EXPECT_THAT(size_sequence({.min_bytes = 0, .max_bytes = 64, .step_factor = 2}), ElementsAre(0));
  EXPECT_THAT(size_sequence({.min_bytes = 5, .max_bytes = 64, .step_bytes = 0}), ElementsAre(5));
  const uint64_t large = uint64_t{1} << 63;
  EXPECT_THAT(size_sequence({.min_bytes = large, .max_bytes = ~uint64_t{0}, .step_factor = 3}),
              ElementsAre(large));
}

TEST(WarmupSequence, Doubles) {
  EXPECT_THAT(warmup_sequence({.min_bytes = 8, .max_bytes = 40, .step_bytes = 1}),
              ElementsAre(8, 16, 32));
}

}  // namespace
}  // namespace railccl::perftest
