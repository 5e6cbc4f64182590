// Encoding and decoding of the small floating-point types, bit by bit and without any library of
// theirs, so that what a test expects does not share code with what it tests. Pure.
#pragma once

#include <cstdint>

namespace railccl::perftest {

struct FloatFormat {
  int exponent_bits;
  int mantissa_bits;
  bool has_infinity;  // false: the highest exponent holds numbers too, all ones is NaN (e4m3)
};

constexpr FloatFormat kHalf = {5, 10, true};
constexpr FloatFormat kBfloat16 = {8, 7, true};
constexpr FloatFormat kFloat8e4m3 = {4, 3, false};
constexpr FloatFormat kFloat8e5m2 = {5, 2, true};

// To nearest, ties to even; too large gives infinity, or NaN where there is none.
uint32_t encode_float(double value, const FloatFormat& format);
double decode_float(uint32_t bits, const FloatFormat& format);

}  // namespace railccl::perftest
