#include "tests/perftest/fake_reduce.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <unordered_map>

namespace railccl::fake_nccl {
namespace {

template <typename T>
T load(const std::byte* from, size_t index) {
  T value;
  std::memcpy(&value, from + index * sizeof value, sizeof value);
  return value;
}

template <typename T>
void store(std::byte* to, size_t index, T value) {
  std::memcpy(to + index * sizeof value, &value, sizeof value);
}

// Small floats are decoded by the definition, and encoded by looking the value up among all that
// the type has: only values that the type has exactly can be stored.
class SmallFloat {
 public:
  // ieee: the highest exponent is infinity and NaN.
  SmallFloat(int exponent_bits, int mantissa_bits, bool ieee) {
    for (uint32_t pattern = 0; pattern < (2u << (exponent_bits + mantissa_bits)); ++pattern) {
      values_.push_back(decode(pattern, exponent_bits, mantissa_bits, ieee));
      if (!std::isnan(values_.back())) patterns_.emplace(values_.back(), pattern);
    }
  }
  double value(uint32_t pattern) const { return values_[pattern]; }
  uint32_t pattern(double value) const {
    const auto found = patterns_.find(value);
    // All ones: a NaN, which no test expects.
    return found != patterns_.end() ? found->second : std::numeric_limits<uint32_t>::max();
  }

 private:
  static double decode(uint32_t pattern, int exponent_bits, int mantissa_bits, bool ieee) {
    const uint32_t mantissa = pattern % (1u << mantissa_bits);
    const uint32_t exponent = (pattern >> mantissa_bits) % (1u << exponent_bits);
    const double sign = (pattern >> (exponent_bits + mantissa_bits)) != 0 ? -1 : 1;
    const bool top = exponent == (1u << exponent_bits) - 1;
    if (top && (ieee || mantissa == (1u << mantissa_bits) - 1)) return std::nan("");
    const double fraction = std::ldexp(mantissa, -mantissa_bits);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias)
                         : sign * std::ldexp(1 + fraction, static_cast<int>(exponent) - bias);
  }
  std::vector<double> values_;
  std::unordered_map<double, uint32_t> patterns_;
};

const SmallFloat& small_float(ncclDataType_t type) {
  static const SmallFloat kHalf(5, 10, true), kBfloat16(8, 7, true), kE4m3(4, 3, false),
      kE5m2(5, 2, true);
  return type == ncclFloat16      ? kHalf
         : type == ncclBfloat16   ? kBfloat16
         : type == ncclFloat8e4m3 ? kE4m3
                                  : kE5m2;
}

// Number: what is calculated with. Integers wrap, so they are calculated unsigned where it matters.
template <typename Number>
Number combine(ncclRedOp_t op, Number a, Number b) {
  if constexpr (std::is_integral_v<Number>) {
    using Unsigned = std::make_unsigned_t<Number>;
    const auto x = static_cast<Unsigned>(a);
    const auto y = static_cast<Unsigned>(b);
    if (op == ncclProd) return static_cast<Number>(static_cast<uint64_t>(x) * y);
    if (op == ncclMax) return std::max(a, b);
    if (op == ncclMin) return std::min(a, b);
    return static_cast<Number>(static_cast<uint64_t>(x) + y);
  } else {
    if (op == ncclProd) return a * b;
    if (op == ncclMax) return std::max(a, b);
    if (op == ncclMin) return std::min(a, b);
    return a + b;
  }
}

// read(pointer, index) gives a Number, write(index, Number) stores the result.
template <typename Read, typename Write>
void reduce_with(const Reduction& reduction, size_t first, size_t count, Read read, Write write) {
  const bool scaled = reduction.op >= ncclNumOps;
  for (size_t i = 0; i < count; ++i) {
    const auto term = [&](size_t rank) {
      const auto value = read(reduction.inputs[rank], first + i);
      if (!scaled) return value;
      return combine(ncclProd, read(reduction.scalars[rank], 0), value);
    };
    auto result = term(0);
    for (size_t rank = 1; rank < reduction.inputs.size(); ++rank) {
      result = combine(scaled ? ncclSum : reduction.op, result, term(rank));
    }
    if (reduction.op == ncclAvg) {
      result = static_cast<decltype(result)>(
          result / static_cast<decltype(result)>(reduction.inputs.size()));
    }
    write(i, result);
  }
}

template <typename T>
void reduce_native(const Reduction& reduction, size_t first, size_t count, std::byte* out) {
  reduce_with(reduction, first, count, load<T>,
              [out](size_t i, T value) { store<T>(out, i, value); });
}

template <typename Bits>
void reduce_small(const Reduction& reduction, size_t first, size_t count, std::byte* out) {
  const SmallFloat& format = small_float(reduction.type);
  reduce_with(
      reduction, first, count,
      [&](const std::byte* from, size_t i) { return format.value(load<Bits>(from, i)); },
      [&](size_t i, double value) { store(out, i, static_cast<Bits>(format.pattern(value))); });
}

}  // namespace

size_t bytes_of(ncclDataType_t type) {
  constexpr std::array<size_t, ncclNumTypes> kBytes = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
  return kBytes[static_cast<size_t>(type)];
}

void reduce_elements(const Reduction& reduction, size_t first, size_t count, std::byte* out) {
  switch (reduction.type) {
    case ncclInt8:
      return reduce_native<int8_t>(reduction, first, count, out);
    case ncclUint8:
      return reduce_native<uint8_t>(reduction, first, count, out);
    case ncclInt32:
      return reduce_native<int32_t>(reduction, first, count, out);
    case ncclUint32:
      return reduce_native<uint32_t>(reduction, first, count, out);
    case ncclInt64:
      return reduce_native<int64_t>(reduction, first, count, out);
    case ncclUint64:
      return reduce_native<uint64_t>(reduction, first, count, out);
    case ncclFloat16:
      return reduce_small<uint16_t>(reduction, first, count, out);
    case ncclFloat32:
      return reduce_native<float>(reduction, first, count, out);
    case ncclFloat64:
      return reduce_native<double>(reduction, first, count, out);
    case ncclBfloat16:
      return reduce_small<uint16_t>(reduction, first, count, out);
    case ncclFloat8e4m3:
      return reduce_small<uint8_t>(reduction, first, count, out);
    case ncclFloat8e5m2:
      return reduce_small<uint8_t>(reduction, first, count, out);
    case ncclNumTypes:
      return;
  }
}

}  // namespace railccl::fake_nccl
