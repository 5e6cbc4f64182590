// Conversions between 16 and 8 bit floats and float32, on whole vectors of 32-bit words: a word
// holds two 16-bit or four 8-bit elements, and becomes two or four float32 vectors. Which element
// lands in which vector does not matter, as encode() is the inverse of decode(). Only 32-bit lane
// operations, so that every SIMD target runs the same arithmetic. Included once per target by
// small_float_kernels.cc; nobody else includes it.

#if defined(RAILCCL_COMPUTE_SMALL_FLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RAILCCL_COMPUTE_SMALL_FLOAT_INL_H_
#undef RAILCCL_COMPUTE_SMALL_FLOAT_INL_H_
#else
#define RAILCCL_COMPUTE_SMALL_FLOAT_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace railccl::compute {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Words = hn::ScalableTag<uint32_t>;
using Floats = hn::ScalableTag<float>;
using Word = hn::Vec<Words>;
using Float = hn::Vec<Floats>;

HWY_INLINE Word word(uint32_t value) { return hn::Set(Words(), value); }
HWY_INLINE Float as_float(Word v) { return hn::BitCast(Floats(), v); }
HWY_INLINE Word as_word(Float v) { return hn::BitCast(Words(), v); }
HWY_INLINE Float power_of_two(int exponent) {
  return as_float(word(static_cast<uint32_t>(127 + exponent) << 23));
}
HWY_INLINE Float nan_becomes(uint32_t nan_bits, Float v) {
  return hn::IfThenElse(hn::Eq(v, v), v, as_float(word(nan_bits)));
}
// `low` and `high` are words whose upper half counts.
HWY_INLINE Word join_upper_halves(Word low, Word high) {
  return hn::Or(hn::ShiftRight<16>(low), hn::And(high, word(0xFFFF0000)));
}

struct FloatPair {
  Float first, second;
};

// float16, two per word.
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86 && !defined(HWY_DISABLE_F16C)

HWY_INLINE FloatPair decode_f16(Word halves) {
  const hn::Repartition<hwy::float16_t, Words> all;
  const hn::Half<decltype(all)> half;
  const auto v = hn::BitCast(all, halves);
  return {hn::PromoteTo(Floats(), hn::LowerHalf(half, v)),
          hn::PromoteTo(Floats(), hn::UpperHalf(half, v))};
}

HWY_INLINE Word encode_f16(FloatPair v) {
  const hn::Rebind<hwy::float16_t, Floats> half;
  const hn::Twice<hn::Rebind<uint16_t, Floats>> all_bits;
  const hn::Half<decltype(all_bits)> half_bits;
  const auto first = hn::BitCast(half_bits, hn::DemoteTo(half, v.first));
  const auto second = hn::BitCast(half_bits, hn::DemoteTo(half, v.second));
  return hn::BitCast(Words(), hn::Combine(all_bits, second, first));
}

#else

// The half is in the upper 16 bits of each word; the lower ones are ignored.
HWY_INLINE Float decode_upper_f16(Word v) {
  const Word sign = hn::And(v, word(0x80000000));
  const Word magnitude = hn::And(hn::ShiftRight<3>(v), word(0x0FFFE000));
  const Word rebias = word(112u << 23);
  const Word normal = hn::Add(magnitude, rebias);
  const Word special = hn::Add(normal, rebias);  // infinity and NaN: exponent all ones
  const Float denormal = hn::Sub(as_float(hn::Add(magnitude, word(113u << 23))), power_of_two(-14));
  Word bits = hn::IfThenElse(hn::Gt(magnitude, word(0x0F7FFFFF)), special, normal);
  bits = hn::IfThenElse(hn::Lt(magnitude, word(0x00800000)), as_word(denormal), bits);
  return as_float(hn::Or(bits, sign));
}

// Rounded to nearest even, into the upper 16 bits of each word; a NaN keeps its upper bits.
HWY_INLINE Word encode_upper_f16(Float v) {
  const Word bits = as_word(v);
  const Word sign = hn::And(bits, word(0x80000000));
  const Word magnitude = hn::Xor(bits, sign);
  const Word odd = hn::And(hn::ShiftRight<13>(magnitude), word(1));
  const Word rounded = hn::Add(magnitude, hn::Add(odd, word((0u - (112u << 23)) + 0xFFF)));
  const Word normal = hn::ShiftRight<13>(rounded);
  // Adding 0.5 leaves the multiple of 2^-24, rounded by the addition, in the low bits.
  const Word denormal =
      hn::Sub(as_word(hn::Add(as_float(magnitude), power_of_two(-1))), as_word(power_of_two(-1)));
  const Word nan = hn::Or(word(0x7C00), hn::And(hn::ShiftRight<13>(magnitude), word(0x3FF)));
  Word half = hn::IfThenElse(hn::Lt(magnitude, word(113u << 23)), denormal, normal);
  half = hn::IfThenElse(hn::Gt(magnitude, word(0x477FFFFF)), word(0x7C00), half);
  half = hn::IfThenElse(hn::Gt(magnitude, word(0x7F800000)), nan, half);
  return hn::Or(hn::ShiftLeft<16>(half), sign);
}

HWY_INLINE FloatPair decode_f16(Word halves) {
  return {decode_upper_f16(hn::ShiftLeft<16>(halves)), decode_upper_f16(halves)};
}

HWY_INLINE Word encode_f16(FloatPair v) {
  return join_upper_halves(encode_upper_f16(v.first), encode_upper_f16(v.second));
}

#endif

// bfloat16, two per word: the upper half of a float32.
HWY_INLINE FloatPair decode_bf16(Word v) {
  return {as_float(hn::ShiftLeft<16>(v)), as_float(hn::And(v, word(0xFFFF0000)))};
}

HWY_INLINE Word round_upper_bf16(Float v) {
  const Word bits = as_word(v);
  const Word odd = hn::And(hn::ShiftRight<16>(bits), word(1));
  const Word rounded = hn::Add(bits, hn::Add(odd, word(0x7FFF)));
  return hn::IfThenElse(hn::RebindMask(Words(), hn::Eq(v, v)), rounded, word(0x7FC00000));
}

HWY_INLINE Word encode_bf16(FloatPair v) {
  return join_upper_halves(round_upper_bf16(v.first), round_upper_bf16(v.second));
}

// 8-bit floats pass through float16, which holds them all: an e5m2 is the upper byte of a half; an
// e4m3, with its magnitude one bit lower, is 2^-8 of its value as a half, and its NaN needs a bit.
struct FloatQuad {
  FloatPair even, odd;  // bytes 0 and 2, bytes 1 and 3 of each word
};

// Rounds to kMantissaBits, to nearest even, with exponents down to kMinExponent and saturation at
// `largest`. The sum with 1.5 * 2^(exponent + 23 - kMantissaBits) has its last bit where the
// rounded value has it.
template <int kMantissaBits, int kMinExponent>
HWY_INLINE Float round_to(Float v, float largest) {
  const Float limit = hn::Set(Floats(), largest);
  const Float clamped = hn::Max(hn::Min(v, limit), hn::Neg(limit));
  const Word exponent_bits = hn::And(as_word(clamped), word(0x7F800000));
  const Float exponent = hn::Max(as_float(exponent_bits), power_of_two(kMinExponent));
  const Float anchor =
      as_float(hn::Add(as_word(exponent), word(((23u - kMantissaBits) << 23) | 0x00400000)));
  const Float rounded = hn::CopySign(hn::Sub(hn::Add(clamped, anchor), anchor), v);
  // This NaN has all upper mantissa bits: 0x7F as an 8-bit float of either kind.
  return hn::IfThenElse(hn::Eq(v, v), rounded, as_float(word(0x7FF00000)));
}

struct E5m2 {
  static HWY_INLINE Word to_f16(Word upper_bytes) { return upper_bytes; }
  static HWY_INLINE Word from_f16(Word halves) { return hn::And(halves, word(0xFF00FF00)); }
  static HWY_INLINE Float widened(Float v) { return v; }
  static HWY_INLINE Float rounded(Float v) { return round_to<2, -14>(v, 57344.0f); }
};

struct E4m3 {
  static HWY_INLINE Word to_f16(Word upper_bytes) {
    const Word magnitude = hn::ShiftRight<1>(hn::And(upper_bytes, word(0x7F007F00)));
    const Word nan_bit = hn::And(hn::Add(magnitude, word(0x00800080)), word(0x40004000));
    return hn::Or(hn::Or(magnitude, nan_bit), hn::And(upper_bytes, word(0x80008000)));
  }
  static HWY_INLINE Word from_f16(Word halves) {
    return hn::Or(hn::And(hn::ShiftLeft<1>(halves), word(0x7F007F00)),
                  hn::And(halves, word(0x80008000)));
  }
  static HWY_INLINE Float widened(Float v) { return hn::Mul(v, power_of_two(8)); }
  static HWY_INLINE Float rounded(Float v) {
    return hn::Mul(round_to<3, -6>(v, 448.0f), power_of_two(-8));
  }
};

template <class Format>
HWY_INLINE FloatPair decode_upper_bytes(Word upper_bytes) {
  const FloatPair v = decode_f16(Format::to_f16(upper_bytes));
  return {Format::widened(v.first), Format::widened(v.second)};
}

template <class Format>
HWY_INLINE Word encode_upper_bytes(FloatPair v) {
  return Format::from_f16(encode_f16({Format::rounded(v.first), Format::rounded(v.second)}));
}

template <class Format>
HWY_INLINE FloatQuad decode_f8(Word v) {
  const Word upper = word(0xFF00FF00);
  return {decode_upper_bytes<Format>(hn::And(hn::ShiftLeft<8>(v), upper)),
          decode_upper_bytes<Format>(hn::And(v, upper))};
}

template <class Format>
HWY_INLINE Word encode_f8(FloatQuad v) {
  return hn::Or(hn::ShiftRight<8>(encode_upper_bytes<Format>(v.even)),
                encode_upper_bytes<Format>(v.odd));
}

}  // namespace HWY_NAMESPACE
}  // namespace railccl::compute
HWY_AFTER_NAMESPACE();

#endif  // RAILCCL_COMPUTE_SMALL_FLOAT_INL_H_
