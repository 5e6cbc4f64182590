// Sum, product, minimum and maximum of the six integer types. Sums and products wrap, so signed and
// unsigned share them.
#include "src/compute/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/compute/integer_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "src/compute/kernel_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace railccl::compute {
namespace HWY_NAMESPACE {

template <typename T, Combine kCombine>
struct IntegerPolicy {
  using Raw = hn::ScalableTag<T>;
  using Acc = hn::Vec<Raw>;
  static constexpr size_t kElementBytes = sizeof(T);
  static constexpr size_t kUnroll = 4;

  explicit IntegerPolicy(uint32_t = 1) {}
  static size_t bytes() { return hn::Lanes(Raw()) * sizeof(T); }
  HWY_INLINE Acc load(const uint8_t* from) const { return load_bytes(Raw(), from); }
  HWY_INLINE Acc combine(Acc a, Acc b) const {
    if constexpr (kCombine == Combine::kSum) return hn::Add(a, b);
    if constexpr (kCombine == Combine::kProd) return hn::Mul(a, b);
    if constexpr (kCombine == Combine::kMax) return hn::Max(a, b);
    if constexpr (kCombine == Combine::kMin) return hn::Min(a, b);
  }
  HWY_INLINE Acc finish(Acc acc) const { return acc; }
};

// Bytes have no multiply instruction: each half of a 16-bit lane is one, whose low byte wraps the
// same.
struct ByteProductPolicy {
  using Raw = hn::ScalableTag<uint16_t>;
  struct Acc {
    hn::Vec<Raw> low, high;  // bytes 0 and 1 of each lane
  };
  static constexpr size_t kElementBytes = 1;
  static constexpr size_t kUnroll = 2;

  explicit ByteProductPolicy(uint32_t = 1) {}
  static size_t bytes() { return hn::Lanes(Raw()) * sizeof(uint16_t); }
  HWY_INLINE Acc load(const uint8_t* from) const {
    const auto both = load_bytes(Raw(), from);
    return {both, hn::ShiftRight<8>(both)};
  }
  HWY_INLINE Acc combine(const Acc& a, const Acc& b) const {
    return {hn::Mul(a.low, b.low), hn::Mul(a.high, b.high)};
  }
  HWY_INLINE hn::Vec<Raw> finish(const Acc& acc) const {
    return hn::Or(hn::And(acc.low, hn::Set(Raw(), 0xFF)), hn::ShiftLeft<8>(acc.high));
  }
};

template <typename Signed, typename Unsigned>
ReduceKernel kernel_of(bool is_signed, Combine combine) {
  using enum Combine;
  switch (combine) {
    case kSum:
      return reduce_loop<IntegerPolicy<Unsigned, kSum>>;
    case kProd:
      if constexpr (sizeof(Unsigned) == 1)
        return reduce_loop<ByteProductPolicy>;
      else
        return reduce_loop<IntegerPolicy<Unsigned, kProd>>;
    case kMax:
      return is_signed ? reduce_loop<IntegerPolicy<Signed, kMax>>
                       : reduce_loop<IntegerPolicy<Unsigned, kMax>>;
    case kMin:
      return is_signed ? reduce_loop<IntegerPolicy<Signed, kMin>>
                       : reduce_loop<IntegerPolicy<Unsigned, kMin>>;
  }
  return nullptr;
}

ReduceKernel integer_kernel_here(DataType type, Combine combine) {
  switch (type) {
    case DataType::kInt8:
    case DataType::kUint8:
      return kernel_of<int8_t, uint8_t>(type == DataType::kInt8, combine);
    case DataType::kInt32:
    case DataType::kUint32:
      return kernel_of<int32_t, uint32_t>(type == DataType::kInt32, combine);
    case DataType::kInt64:
    case DataType::kUint64:
      return kernel_of<int64_t, uint64_t>(type == DataType::kInt64, combine);
    default:
      return nullptr;
  }
}

ScaleKernel integer_scale_kernel_here(DataType type) {
  switch (type) {
    case DataType::kInt8:
    case DataType::kUint8:
      return scale_loop<ByteProductPolicy>;
    case DataType::kInt32:
    case DataType::kUint32:
      return scale_loop<IntegerPolicy<uint32_t, Combine::kProd>>;
    case DataType::kInt64:
    case DataType::kUint64:
      return scale_loop<IntegerPolicy<uint64_t, Combine::kProd>>;
    default:
      return nullptr;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace railccl::compute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace railccl::compute {

HWY_EXPORT(integer_kernel_here);
HWY_EXPORT(integer_scale_kernel_here);

ReduceKernel integer_kernel(DataType type, Combine combine) {
  return HWY_DYNAMIC_DISPATCH(integer_kernel_here)(type, combine);
}

ScaleKernel integer_scale_kernel(DataType type) {
  return HWY_DYNAMIC_DISPATCH(integer_scale_kernel_here)(type);
}

}  // namespace railccl::compute
#endif
