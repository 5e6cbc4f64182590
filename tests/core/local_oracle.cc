#include "tests/core/local_oracle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace railccl {
namespace {

struct SmallFloat {
  int exponent_bits;
  int mantissa_bits;
  int bytes;
};

SmallFloat small_float(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return {5, 10, 2};
    case DataType::kBfloat16:
      return {8, 7, 2};
    case DataType::kFloat8e4m3:
      return {4, 3, 1};
    default:
      return {5, 2, 1};
  }
}

float decode(SmallFloat format, uint32_t bits) {
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const uint32_t mantissa = bits & ((1u << format.mantissa_bits) - 1);
  const int exponent =
      static_cast<int>(bits >> format.mantissa_bits & ((1u << format.exponent_bits) - 1));
  const bool negative = (bits >> (format.exponent_bits + format.mantissa_bits)) != 0;
  const float fraction =
      static_cast<float>(mantissa) / static_cast<float>(1u << format.mantissa_bits);
  const float magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1.0f + fraction, exponent - bias);
  return negative ? -magnitude : magnitude;
}

// Nearest, ties to an even mantissa; magnitudes grow with their bits, so the nearest is next to
// where a search ends. Values here are far below the largest.
uint32_t encode(SmallFloat format, float value) {
  const uint32_t sign =
      std::signbit(value) ? 1u << (format.exponent_bits + format.mantissa_bits) : 0;
  const float magnitude = std::fabs(value);
  uint32_t low = 0;
  uint32_t high = 1u << (format.exponent_bits + format.mantissa_bits);
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (decode(format, middle) <= magnitude ? low : high) = middle;
  }
  const double below = static_cast<double>(magnitude) - static_cast<double>(decode(format, low));
  const double above =
      static_cast<double>(decode(format, low + 1)) - static_cast<double>(magnitude);
  const bool up = above < below || (above == below && (low & 1) != 0);
  return sign | (up ? low + 1 : low);
}

template <typename T>
T combine(T a, T b, ReduceOp op) {
  using U = std::make_unsigned_t<std::conditional_t<std::is_integral_v<T>, T, int>>;
  if (op == ReduceOp::kMax) return std::max(a, b);
  if (op == ReduceOp::kMin) return std::min(a, b);
  if constexpr (std::is_integral_v<T>) {
    const auto x = static_cast<uint64_t>(static_cast<U>(a));
    const auto y = static_cast<uint64_t>(static_cast<U>(b));
    return static_cast<T>(static_cast<U>(op == ReduceOp::kProd ? x * y : x + y));
  } else {
    return op == ReduceOp::kProd ? a * b : a + b;
  }
}

template <typename T>
T element(const Bytes& bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
Bytes reduce_as(const std::vector<Bytes>& inputs, size_t first, size_t count, ReduceOp op,
                uint32_t divide_by) {
  Bytes result(count * sizeof(T));
  for (size_t i = 0; i < count; ++i) {
    T value = element<T>(inputs[0], first + i);
    for (size_t rank = 1; rank < inputs.size(); ++rank) {
      value = combine(value, element<T>(inputs[rank], first + i), op);
    }
    if (divide_by > 1) value = static_cast<T>(value / static_cast<T>(divide_by));
    std::memcpy(result.data() + i * sizeof(T), &value, sizeof(T));
  }
  return result;
}

uint32_t small_bits(const Bytes& bytes, size_t i, SmallFloat format) {
  return format.bytes == 2 ? element<uint16_t>(bytes, i) : element<uint8_t>(bytes, i);
}

void put_small(Bytes& bytes, size_t i, SmallFloat format, uint32_t bits) {
  for (int k = 0; k < format.bytes; ++k) {
    bytes[i * static_cast<size_t>(format.bytes) + static_cast<size_t>(k)] =
        static_cast<std::byte>(bits >> (8 * k));
  }
}

Bytes reduce_small_float(const std::vector<Bytes>& inputs, size_t first, size_t count,
                         SmallFloat format, ReduceOp op, uint32_t divide_by) {
  Bytes result(count * static_cast<size_t>(format.bytes));
  for (size_t i = 0; i < count; ++i) {
    float value = decode(format, small_bits(inputs[0], first + i, format));
    for (size_t rank = 1; rank < inputs.size(); ++rank) {
      value = combine(value, decode(format, small_bits(inputs[rank], first + i, format)), op);
    }
    if (divide_by > 1) value /= static_cast<float>(divide_by);
    put_small(result, i, format, encode(format, value));
  }
  return result;
}

template <typename T>
Bytes random_as(std::mt19937_64& random, ReduceOp op, size_t count) {
  Bytes result(count * sizeof(T));
  for (size_t i = 0; i < count; ++i) {
    T value;
    if constexpr (std::is_integral_v<T>) {
      value = static_cast<T>(random());
    } else {
      // Full mantissas, so that another order of summing would show.
      const double unit = static_cast<double>(random()) / 0x1p64;
      value = static_cast<T>(op == ReduceOp::kProd ? 0.75 + unit / 2 : unit * 200 - 100);
    }
    std::memcpy(result.data() + i * sizeof(T), &value, sizeof(T));
  }
  return result;
}

Bytes random_small_float(std::mt19937_64& random, SmallFloat format, ReduceOp op, size_t count) {
  Bytes result(count * static_cast<size_t>(format.bytes));
  for (size_t i = 0; i < count; ++i) {
    const float unit = static_cast<float>(random() % 4096) / 4096;
    const float value = op == ReduceOp::kProd ? 0.75f + unit / 2 : unit * 16 - 8;
    put_small(result, i, format, encode(format, value));
  }
  return result;
}

// Calls f(T{}) with the type's own arithmetic type; false for the small floats.
template <typename F>
bool with_type(DataType type, F f) {
  switch (type) {
    case DataType::kInt8:
      return f(int8_t{}), true;
    case DataType::kUint8:
      return f(uint8_t{}), true;
    case DataType::kInt32:
      return f(int32_t{}), true;
    case DataType::kUint32:
      return f(uint32_t{}), true;
    case DataType::kInt64:
      return f(int64_t{}), true;
    case DataType::kUint64:
      return f(uint64_t{}), true;
    case DataType::kFloat32:
      return f(float{}), true;
    case DataType::kFloat64:
      return f(double{}), true;
    default:
      return false;
  }
}

}  // namespace

Bytes random_elements(std::mt19937_64& random, DataType type, ReduceOp op, size_t count) {
  Bytes result;
  const bool plain =
      with_type(type, [&](auto zero) { result = random_as<decltype(zero)>(random, op, count); });
  return plain ? result : random_small_float(random, small_float(type), op, count);
}

Bytes reduce_elements(const std::vector<Bytes>& inputs, size_t first, size_t count, DataType type,
                      ReduceOp op, uint32_t divide_by) {
  Bytes result;
  const bool plain = with_type(type, [&](auto zero) {
    result = reduce_as<decltype(zero)>(inputs, first, count, op, divide_by);
  });
  return plain ? result
               : reduce_small_float(inputs, first, count, small_float(type), op, divide_by);
}

}  // namespace railccl
