// Minimum and maximum of all float types, as integers: the bits of a float, with the magnitude
// inverted where the sign is set, order like the numbers (-0 below +0). A NaN becomes a key beyond
// infinity on the side that wins, so it propagates; nothing is rounded.
#include "src/compute/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/compute/float_order_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <limits>

#include "src/compute/float_formats.h"
#include "src/compute/kernel_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace railccl::compute {
namespace HWY_NAMESPACE {

template <class Format, Combine kCombine>
struct OrderPolicy {
  using T = typename Format::Bits;  // signed
  using Raw = hn::ScalableTag<T>;
  using Acc = hn::Vec<Raw>;
  static constexpr size_t kElementBytes = sizeof(T);
  static constexpr size_t kUnroll = 4;
  static constexpr T kMagnitude = std::numeric_limits<T>::max();
  static constexpr T kNanKey =
      kCombine == Combine::kMax ? kMagnitude : std::numeric_limits<T>::min();

  explicit OrderPolicy(uint32_t = 1) {}
  static size_t bytes() { return hn::Lanes(Raw()) * sizeof(T); }
  HWY_INLINE Acc load(const uint8_t* from) const {
    const Acc bits = load_bytes(Raw(), from);
    const auto is_nan =
        hn::Gt(hn::And(bits, hn::Set(Raw(), kMagnitude)), hn::Set(Raw(), Format::kLargest));
    return hn::IfThenElse(is_nan, hn::Set(Raw(), kNanKey), invert_if_negative(bits));
  }
  HWY_INLINE Acc combine(Acc a, Acc b) const {
    if constexpr (kCombine == Combine::kMax) return hn::Max(a, b);
    if constexpr (kCombine == Combine::kMin) return hn::Min(a, b);
  }
  HWY_INLINE Acc finish(Acc key) const {
    const auto is_nan = hn::Eq(key, hn::Set(Raw(), kNanKey));
    return hn::IfThenElse(is_nan, hn::Set(Raw(), Format::kNan), invert_if_negative(key));
  }

 private:
  static HWY_INLINE Acc invert_if_negative(Acc v) {
    return hn::Xor(v, hn::And(hn::BroadcastSignBit(v), hn::Set(Raw(), kMagnitude)));
  }
};

template <class Format>
ReduceKernel order_kernel_of(Combine combine) {
  if (combine == Combine::kMax) return reduce_loop<OrderPolicy<Format, Combine::kMax>>;
  if (combine == Combine::kMin) return reduce_loop<OrderPolicy<Format, Combine::kMin>>;
  return nullptr;
}

ReduceKernel float_order_kernel_here(DataType type, Combine combine) {
  switch (type) {
    case DataType::kFloat16:
      return order_kernel_of<Float16Format>(combine);
    case DataType::kFloat32:
      return order_kernel_of<Float32Format>(combine);
    case DataType::kFloat64:
      return order_kernel_of<Float64Format>(combine);
    case DataType::kBfloat16:
      return order_kernel_of<Bfloat16Format>(combine);
    case DataType::kFloat8e4m3:
      return order_kernel_of<Float8e4m3Format>(combine);
    case DataType::kFloat8e5m2:
      return order_kernel_of<Float8e5m2Format>(combine);
    default:
      return nullptr;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace railccl::compute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace railccl::compute {

HWY_EXPORT(float_order_kernel_here);

ReduceKernel float_order_kernel(DataType type, Combine combine) {
  return HWY_DYNAMIC_DISPATCH(float_order_kernel_here)(type, combine);
}

}  // namespace railccl::compute
#endif
