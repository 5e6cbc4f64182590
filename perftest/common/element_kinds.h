// Internal to pattern.cc: how small integers, fractions and random bits become elements of each
// type.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "perftest/common/float_format.h"

namespace railccl::perftest {

// kLimit: every integer of at most this magnitude is an element, and so is half of it (floats).
template <typename T>
struct IntegerKind {
  using Element = T;
  static constexpr bool kIsFloat = false;
  static constexpr bool kIsSigned = std::is_signed_v<T>;
  static constexpr int64_t kLimit = static_cast<int64_t>(
      std::min<uint64_t>(uint64_t{1} << 53, uint64_t{std::numeric_limits<T>::max()}));
  static Element from_bits(uint64_t bits) { return static_cast<Element>(bits); }
  static Element from_integer(int64_t value) { return static_cast<Element>(value); }
};

template <typename T, typename Bits, int kMantissa>
struct NativeFloatKind {
  using Element = T;
  static constexpr bool kIsFloat = true;
  static constexpr bool kIsSigned = true;
  static constexpr int kMantissaBits = kMantissa;
  static constexpr int64_t kLimit = int64_t{1} << (kMantissa + 1);
  static Element from_bits(uint64_t bits) {
    // Through memory, so that NaNs keep their bits.
    return std::bit_cast<Element>(static_cast<Bits>(bits));
  }
  static Element from_double(double value) { return static_cast<Element>(value); }
  static Element from_halves(int64_t halves) {
    return static_cast<Element>(static_cast<double>(halves) * 0.5);
  }
};
using FloatKind = NativeFloatKind<float, uint32_t, 23>;
using DoubleKind = NativeFloatKind<double, uint64_t, 52>;

template <typename Bits, const FloatFormat& kFormat>
struct SmallFloatKind {
  using Element = Bits;
  static constexpr bool kIsFloat = true;
  static constexpr bool kIsSigned = true;
  static constexpr int kMantissaBits = kFormat.mantissa_bits;
  static constexpr int64_t kLimit = int64_t{1} << (kMantissaBits + 1);
  static Element from_bits(uint64_t bits) { return static_cast<Element>(bits); }
  static Element from_double(double value) {
    return static_cast<Element>(encode_float(value, kFormat));
  }
  static Element from_halves(int64_t halves) {
    static const auto table = [] {
      std::array<Element, 4 * kLimit + 1> elements;
      for (int64_t i = 0; i <= 4 * kLimit; ++i) {
        elements[static_cast<size_t>(i)] = from_double(static_cast<double>(i - 2 * kLimit) * 0.5);
      }
      return elements;
    }();
    return table[static_cast<size_t>(halves + 2 * kLimit)];
  }
};

}  // namespace railccl::perftest
