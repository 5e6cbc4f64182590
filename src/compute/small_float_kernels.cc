// Sum and product of float16, bfloat16 and the two 8-bit floats: float32 accumulators over all
// sources, rounded once.
#include "src/compute/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/compute/small_float_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "src/compute/kernel_loop-inl.h"
#include "src/compute/small_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace railccl::compute {
namespace HWY_NAMESPACE {

struct Float16Codec {
  using Acc = FloatPair;
  static constexpr size_t kElementBytes = 2;
  static HWY_INLINE FloatPair decode(Word v) { return decode_f16(v); }
  static HWY_INLINE Word encode(FloatPair v) {
    return encode_f16({nan_becomes(0x7FC00000, v.first), nan_becomes(0x7FC00000, v.second)});
  }
};

struct Bfloat16Codec {
  using Acc = FloatPair;
  static constexpr size_t kElementBytes = 2;
  static HWY_INLINE FloatPair decode(Word v) { return decode_bf16(v); }
  static HWY_INLINE Word encode(FloatPair v) { return encode_bf16(v); }
};

template <class Format>
struct Float8Codec {
  using Acc = FloatQuad;
  static constexpr size_t kElementBytes = 1;
  static HWY_INLINE FloatQuad decode(Word v) { return decode_f8<Format>(v); }
  static HWY_INLINE Word encode(FloatQuad v) { return encode_f8<Format>(v); }
};

template <Combine kCombine>
HWY_INLINE Float combine_each(Float a, Float b) {
  if constexpr (kCombine == Combine::kSum) return hn::Add(a, b);
  if constexpr (kCombine == Combine::kProd) return hn::Mul(a, b);
}
template <Combine kCombine>
HWY_INLINE FloatPair combine_each(FloatPair a, FloatPair b) {
  return {combine_each<kCombine>(a.first, b.first), combine_each<kCombine>(a.second, b.second)};
}
template <Combine kCombine>
HWY_INLINE FloatQuad combine_each(FloatQuad a, FloatQuad b) {
  return {combine_each<kCombine>(a.even, b.even), combine_each<kCombine>(a.odd, b.odd)};
}

HWY_INLINE FloatPair divide_each(FloatPair v, Float by) {
  return {hn::Div(v.first, by), hn::Div(v.second, by)};
}
HWY_INLINE FloatQuad divide_each(FloatQuad v, Float by) {
  return {divide_each(v.even, by), divide_each(v.odd, by)};
}

template <class Codec, Combine kCombine>
struct SmallFloatPolicy {
  using Raw = Words;
  using Acc = typename Codec::Acc;
  static constexpr size_t kElementBytes = Codec::kElementBytes;
  static constexpr size_t kUnroll = kElementBytes;  // four accumulator vectors

  explicit SmallFloatPolicy(uint32_t divisor = 1) : divisor_(divisor) {}
  static size_t bytes() { return hn::Lanes(Raw()) * sizeof(uint32_t); }
  HWY_INLINE Acc load(const uint8_t* from) const { return Codec::decode(load_bytes(Raw(), from)); }
  HWY_INLINE Acc combine(const Acc& a, const Acc& b) const { return combine_each<kCombine>(a, b); }
  HWY_INLINE Word finish(const Acc& acc) const {
    if (divisor_ <= 1) return Codec::encode(acc);
    return Codec::encode(divide_each(acc, hn::Set(Floats(), static_cast<float>(divisor_))));
  }

 private:
  uint32_t divisor_;
};

template <class Codec>
ReduceKernel small_float_kernel_of(Combine combine) {
  if (combine == Combine::kSum) return reduce_loop<SmallFloatPolicy<Codec, Combine::kSum>>;
  if (combine == Combine::kProd) return reduce_loop<SmallFloatPolicy<Codec, Combine::kProd>>;
  return nullptr;
}

ReduceKernel small_float_kernel_here(DataType type, Combine combine) {
  switch (type) {
    case DataType::kFloat16:
      return small_float_kernel_of<Float16Codec>(combine);
    case DataType::kBfloat16:
      return small_float_kernel_of<Bfloat16Codec>(combine);
    case DataType::kFloat8e4m3:
      return small_float_kernel_of<Float8Codec<E4m3>>(combine);
    case DataType::kFloat8e5m2:
      return small_float_kernel_of<Float8Codec<E5m2>>(combine);
    default:
      return nullptr;
  }
}

ScaleKernel small_float_scale_kernel_here(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return scale_loop<SmallFloatPolicy<Float16Codec, Combine::kProd>>;
    case DataType::kBfloat16:
      return scale_loop<SmallFloatPolicy<Bfloat16Codec, Combine::kProd>>;
    case DataType::kFloat8e4m3:
      return scale_loop<SmallFloatPolicy<Float8Codec<E4m3>, Combine::kProd>>;
    case DataType::kFloat8e5m2:
      return scale_loop<SmallFloatPolicy<Float8Codec<E5m2>, Combine::kProd>>;
    default:
      return nullptr;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace railccl::compute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace railccl::compute {

HWY_EXPORT(small_float_kernel_here);
HWY_EXPORT(small_float_scale_kernel_here);

ReduceKernel small_float_kernel(DataType type, Combine combine) {
  return HWY_DYNAMIC_DISPATCH(small_float_kernel_here)(type, combine);
}

ScaleKernel small_float_scale_kernel(DataType type) {
  return HWY_DYNAMIC_DISPATCH(small_float_scale_kernel_here)(type);
}

}  // namespace railccl::compute
#endif
