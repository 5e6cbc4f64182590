#include "tests/compute/scalar_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace railccl::testing {
namespace {

struct Layout {
  int bits, mantissa_bits, bias;
  bool has_infinity;  // else the top exponent holds numbers and one NaN
  bool saturates;
  uint32_t nan;
};

Layout layout_of(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return {16, 10, 15, true, false, 0x7E00};
    case DataType::kBfloat16:
      return {16, 7, 127, true, false, 0x7FC0};
    case DataType::kFloat8e4m3:
      return {8, 3, 7, false, true, 0x7F};
    default:
      return {8, 2, 15, true, true, 0x7F};
  }
}

uint32_t sign_bit(const Layout& layout) { return 1u << (layout.bits - 1); }

// Codes of magnitudes up to here are numbers.
uint32_t largest_code(const Layout& layout) {
  const uint32_t top = sign_bit(layout) - 1;
  return layout.has_infinity ? ((top >> layout.mantissa_bits) << layout.mantissa_bits) - 1
                             : top - 1;
}

// The number that `code` would stand for if the top exponent were one like the others.
double value_of_code(const Layout& layout, uint32_t code) {
  const auto exponent = static_cast<int>(code >> layout.mantissa_bits);
  const uint32_t fraction = code & ((1u << layout.mantissa_bits) - 1);
  const uint32_t mantissa = exponent == 0 ? fraction : fraction | (1u << layout.mantissa_bits);
  return std::ldexp(mantissa, std::max(exponent, 1) - layout.bias - layout.mantissa_bits);
}

// values[code] for all codes of numbers, then the first that overflows: ascending.
std::vector<double> make_values(DataType type) {
  const Layout layout = layout_of(type);
  std::vector<double> values;
  for (uint32_t code = 0; code <= largest_code(layout) + 1; ++code) {
    values.push_back(value_of_code(layout, code));
  }
  return values;
}

const std::vector<double>& values_of(DataType type) {
  static const std::vector<double> f16 = make_values(DataType::kFloat16);
  static const std::vector<double> bf16 = make_values(DataType::kBfloat16);
  static const std::vector<double> e4m3 = make_values(DataType::kFloat8e4m3);
  static const std::vector<double> e5m2 = make_values(DataType::kFloat8e5m2);
  if (type == DataType::kFloat16) return f16;
  if (type == DataType::kBfloat16) return bf16;
  return type == DataType::kFloat8e4m3 ? e4m3 : e5m2;
}

uint32_t nearest_code(const std::vector<double>& values, double magnitude) {
  const auto above = std::lower_bound(values.begin(), values.end(), magnitude);
  if (above == values.end()) return static_cast<uint32_t>(values.size() - 1);
  const auto high = static_cast<uint32_t>(above - values.begin());
  if (*above == magnitude || high == 0) return high;
  const double to_high = *above - magnitude;
  const double to_low = magnitude - values[high - 1];
  if (to_high != to_low) return to_high < to_low ? high : high - 1;
  return high % 2 == 0 ? high : high - 1;
}

template <typename T>
T element(const Bytes& bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void put_element(Bytes& bytes, size_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

bool is_order(ReduceOp op) { return op == ReduceOp::kMin || op == ReduceOp::kMax; }

// Whether b replaces a in a minimum or maximum; -0 is below +0.
template <typename T>
bool replaces(T a, T b, ReduceOp op) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a == b) return op == ReduceOp::kMin ? std::signbit(b) : std::signbit(a);
  }
  return op == ReduceOp::kMin ? b < a : b > a;
}

template <typename T>
T combine_integers(T a, T b, ReduceOp op) {
  if (is_order(op)) return replaces(a, b, op) ? b : a;
  const auto x = static_cast<uint64_t>(a);
  const auto y = static_cast<uint64_t>(b);
  return static_cast<T>(op == ReduceOp::kProd ? x * y : x + y);
}

template <typename T>
void reduce_integers(const ReferenceCall& call, Bytes& result) {
  for (size_t i = 0; i < call.count; ++i) {
    T acc = element<T>(call.srcs[0], i);
    for (const Bytes& src : call.srcs.subspan(1)) {
      acc = combine_integers(acc, element<T>(src, i), call.op);
    }
    using Wide = std::conditional_t<std::is_signed_v<T>, __int128_t, __uint128_t>;
    if (call.divide_by > 1) acc = static_cast<T>(static_cast<Wide>(acc) / Wide{call.divide_by});
    put_element(result, i, acc);
  }
}

template <typename T>
T combine_floats(T a, T b, ReduceOp op) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
  if (is_order(op)) return replaces(a, b, op) ? b : a;
  return op == ReduceOp::kProd ? a * b : a + b;
}

template <typename T>
T finish_float(T acc, uint32_t divide_by) {
  if (divide_by > 1) acc /= static_cast<T>(divide_by);
  return std::isnan(acc) ? std::numeric_limits<T>::quiet_NaN() : acc;
}

template <typename T>
void reduce_floats(const ReferenceCall& call, Bytes& result) {
  for (size_t i = 0; i < call.count; ++i) {
    T acc = element<T>(call.srcs[0], i);
    for (const Bytes& src : call.srcs.subspan(1)) {
      acc = combine_floats(acc, element<T>(src, i), call.op);
    }
    put_element(result, i, finish_float(acc, call.divide_by));
  }
}

uint32_t small_bits(const Bytes& bytes, size_t index, DataType type) {
  return element_bytes(type) == 1 ? element<uint8_t>(bytes, index)
                                  : element<uint16_t>(bytes, index);
}

void put_small(Bytes& bytes, size_t index, DataType type, uint32_t bits) {
  if (element_bytes(type) == 1) {
    put_element(bytes, index, static_cast<uint8_t>(bits));
  } else {
    put_element(bytes, index, static_cast<uint16_t>(bits));
  }
}

// Minimum and maximum answer one of the operands, an infinity too; the rest is rounded.
uint32_t round_result(DataType type, ReduceOp op, float value) {
  if (is_order(op) && std::isinf(value)) {
    const Layout layout = layout_of(type);
    return (largest_code(layout) + 1) | (value < 0 ? sign_bit(layout) : 0);
  }
  return encode_small(type, value);
}

void reduce_small(const ReferenceCall& call, Bytes& result) {
  for (size_t i = 0; i < call.count; ++i) {
    auto decoded = [&](const Bytes& src) {
      return static_cast<float>(decode_small(call.type, small_bits(src, i, call.type)));
    };
    float acc = decoded(call.srcs[0]);
    for (const Bytes& src : call.srcs.subspan(1)) {
      acc = combine_floats(acc, decoded(src), call.op);
    }
    acc = finish_float(acc, call.divide_by);
    put_small(result, i, call.type, round_result(call.type, call.op, acc));
  }
}

}  // namespace

bool is_small_float(DataType type) {
  return type == DataType::kFloat16 || type == DataType::kBfloat16 ||
         type == DataType::kFloat8e4m3 || type == DataType::kFloat8e5m2;
}

double decode_small(DataType type, uint32_t bits) {
  const Layout layout = layout_of(type);
  const uint32_t code = bits & (sign_bit(layout) - 1);
  double value = value_of_code(layout, code);
  if (is_nan_bits(type, bits)) return std::numeric_limits<double>::quiet_NaN();
  if (code > largest_code(layout)) value = std::numeric_limits<double>::infinity();
  return (bits & sign_bit(layout)) != 0 ? -value : value;
}

uint32_t encode_small(DataType type, double value) {
  const Layout layout = layout_of(type);
  if (std::isnan(value)) return layout.nan;
  uint32_t code = nearest_code(values_of(type), std::fabs(value));
  if (layout.saturates) code = std::min(code, largest_code(layout));
  return std::signbit(value) ? code | sign_bit(layout) : code;
}

bool is_nan_bits(DataType type, uint32_t bits) {
  const Layout layout = layout_of(type);
  const uint32_t first_nan = largest_code(layout) + (layout.has_infinity ? 2 : 1);
  return (bits & (sign_bit(layout) - 1)) >= first_nan;
}

uint32_t canonical_nan(DataType type) { return layout_of(type).nan; }

Bytes reference_reduce(const ReferenceCall& call) {
  Bytes result(call.count * element_bytes(call.type));
  if (call.srcs.size() == 1 && call.divide_by <= 1) {
    std::copy_n(call.srcs[0].begin(), result.size(), result.begin());
    return result;
  }
  switch (call.type) {
    case DataType::kInt8:
      reduce_integers<int8_t>(call, result);
      break;
    case DataType::kUint8:
      reduce_integers<uint8_t>(call, result);
      break;
    case DataType::kInt32:
      reduce_integers<int32_t>(call, result);
      break;
    case DataType::kUint32:
      reduce_integers<uint32_t>(call, result);
      break;
    case DataType::kInt64:
      reduce_integers<int64_t>(call, result);
      break;
    case DataType::kUint64:
      reduce_integers<uint64_t>(call, result);
      break;
    case DataType::kFloat32:
      reduce_floats<float>(call, result);
      break;
    case DataType::kFloat64:
      reduce_floats<double>(call, result);
      break;
    default:
      reduce_small(call, result);
  }
  return result;
}

// A product of two sources, the second of them the scalar everywhere.
Bytes reference_scale(const Bytes& src, size_t count, DataType type, const Bytes& scalar) {
  std::vector<Bytes> srcs{src, Bytes()};
  for (size_t i = 0; i < count; ++i) srcs[1].insert(srcs[1].end(), scalar.begin(), scalar.end());
  return reference_reduce({.srcs = srcs, .count = count, .type = type, .op = ReduceOp::kProd});
}

std::string first_difference(const uint8_t* got, const Bytes& expected, DataType type) {
  const size_t size = element_bytes(type);
  for (size_t at = 0; at < expected.size(); at += size) {
    if (std::memcmp(got + at, expected.data() + at, size) == 0) continue;
    uint64_t got_bits = 0;
    uint64_t expected_bits = 0;
    std::memcpy(&got_bits, got + at, size);
    std::memcpy(&expected_bits, expected.data() + at, size);
    return fmt::format("element {}: got {:x}, expected {:x}", at / size, got_bits, expected_bits);
  }
  return "";
}

}  // namespace railccl::testing
