#include "perftest/common/float_format.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace railccl::perftest {
namespace {

int bias(const FloatFormat& format) { return (1 << (format.exponent_bits - 1)) - 1; }

// Bits, without sign, of the largest finite number.
uint32_t largest_bits(const FloatFormat& format) {
  const uint32_t all_ones = (1u << (format.exponent_bits + format.mantissa_bits)) - 1;
  return format.has_infinity ? all_ones - (1u << format.mantissa_bits) : all_ones - 1;
}

// Infinity where there is one, else NaN: the first pattern after the largest number.
uint32_t overflow_bits(const FloatFormat& format) { return largest_bits(format) + 1; }

}  // namespace

uint32_t encode_float(double value, const FloatFormat& format) {
  const uint32_t sign =
      std::signbit(value) ? 1u << (format.exponent_bits + format.mantissa_bits) : 0;
  const double magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | (overflow_bits(format) + (format.has_infinity ? 1 : 0));
  if (std::isinf(value)) return sign | overflow_bits(format);
  if (magnitude == 0) return sign;
  // Numbers below 2^lowest are multiples of the same smallest step.
  const int lowest = 1 - bias(format);
  const int exponent = std::max(std::ilogb(magnitude), lowest);
  const double steps = std::nearbyint(std::ldexp(magnitude, format.mantissa_bits - exponent));
  // The leading one of `steps` adds one to the exponent field, and so does a carry of the rounding.
  const auto field = static_cast<uint64_t>(exponent - lowest) << format.mantissa_bits;
  const uint64_t bits = field + static_cast<uint64_t>(steps);
  return sign | static_cast<uint32_t>(std::min<uint64_t>(bits, overflow_bits(format)));
}

double decode_float(uint32_t bits, const FloatFormat& format) {
  const uint32_t sign_bit = 1u << (format.exponent_bits + format.mantissa_bits);
  const uint32_t magnitude = bits & (sign_bit - 1);
  const double sign = (bits & sign_bit) != 0 ? -1.0 : 1.0;
  if (magnitude > largest_bits(format)) {
    const bool infinite = format.has_infinity && magnitude == overflow_bits(format);
    return infinite ? sign * std::numeric_limits<double>::infinity()
                    : std::numeric_limits<double>::quiet_NaN();
  }
  const auto exponent = static_cast<int>(magnitude >> format.mantissa_bits);
  const uint32_t mantissa = magnitude & ((1u << format.mantissa_bits) - 1);
  const int lowest = 1 - bias(format);
  const double steps = exponent == 0 ? mantissa : mantissa + std::ldexp(1.0, format.mantissa_bits);
  return sign * std::ldexp(steps, std::max(exponent - 1, 0) + lowest - format.mantissa_bits);
}

}  // namespace railccl::perftest
