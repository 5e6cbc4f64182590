#include "perftest/common/float_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace railccl::perftest {
namespace {

TEST(FloatFormat, KnownPatterns) {
  EXPECT_EQ(encode_float(1.0, kHalf), 0x3c00u);
  EXPECT_EQ(encode_float(-2.0, kHalf), 0xc000u);
  EXPECT_EQ(encode_float(65504.0, kHalf), 0x7bffu);
  EXPECT_EQ(encode_float(65520.0, kHalf), 0x7c00u);
  EXPECT_EQ(encode_float(std::ldexp(1, -24), kHalf), 0x0001u);
  EXPECT_EQ(encode_float(1.0, kBfloat16), 0x3f80u);
  EXPECT_EQ(encode_float(1.0, kFloat8e4m3), 0x38u);
  EXPECT_EQ(encode_float(448.0, kFloat8e4m3), 0x7eu);
  EXPECT_EQ(encode_float(1e9, kFloat8e4m3), 0x7fu);
  EXPECT_EQ(encode_float(std::ldexp(1, -9), kFloat8e4m3), 0x01u);
  EXPECT_EQ(encode_float(57344.0, kFloat8e5m2), 0x7bu);
  EXPECT_EQ(encode_float(std::numeric_limits<double>::infinity(), kFloat8e5m2), 0x7cu);
  EXPECT_EQ(encode_float(-0.0, kHalf), 0x8000u);
}

TEST(FloatFormat, EveryNumberSurvivesTheRoundTrip) {
  for (const FloatFormat& format : {kHalf, kBfloat16, kFloat8e4m3, kFloat8e5m2}) {
    const int bits = 1 + format.exponent_bits + format.mantissa_bits;
    for (uint32_t pattern = 0; pattern < (1u << bits); ++pattern) {
      const double value = decode_float(pattern, format);
      if (std::isnan(value)) continue;
      ASSERT_EQ(encode_float(value, format), pattern) << bits << " bits, value " << value;
    }
  }
}

TEST(FloatFormat, RoundsToNearestTiesToEven) {
  EXPECT_EQ(encode_float(2049.0, kHalf), encode_float(2048.0, kHalf));
  EXPECT_EQ(encode_float(2051.0, kHalf), encode_float(2052.0, kHalf));
  EXPECT_EQ(encode_float(17.0, kFloat8e4m3), encode_float(16.0, kFloat8e4m3));
  EXPECT_EQ(encode_float(1.99999, kHalf), encode_float(2.0, kHalf));
}

}  // namespace
}  // namespace railccl::perftest
