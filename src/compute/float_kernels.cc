// Sum and product of float32 and float64, in the type itself.
#include "src/compute/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/compute/float_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <limits>

#include "src/compute/kernel_loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace railccl::compute {
namespace HWY_NAMESPACE {

template <typename T, Combine kCombine>
struct FloatPolicy {
  using Raw = hn::ScalableTag<T>;
  using Acc = hn::Vec<Raw>;
  static constexpr size_t kElementBytes = sizeof(T);
  static constexpr size_t kUnroll = 4;

  explicit FloatPolicy(uint32_t divisor = 1) : divisor_(divisor) {}
  static size_t bytes() { return hn::Lanes(Raw()) * sizeof(T); }
  HWY_INLINE Acc load(const uint8_t* from) const { return load_bytes(Raw(), from); }
  HWY_INLINE Acc combine(Acc a, Acc b) const {
    if constexpr (kCombine == Combine::kSum) return hn::Add(a, b);
    if constexpr (kCombine == Combine::kProd) return hn::Mul(a, b);
  }
  // Which operand's NaN an addition keeps differs between instructions: one NaN for all.
  HWY_INLINE Acc finish(Acc acc) const {
    if (divisor_ > 1) acc = hn::Div(acc, hn::Set(Raw(), static_cast<T>(divisor_)));
    const Acc nan = hn::Set(Raw(), std::numeric_limits<T>::quiet_NaN());
    return hn::IfThenElse(hn::Eq(acc, acc), acc, nan);
  }

 private:
  uint32_t divisor_;
};

template <typename T>
ReduceKernel float_kernel_of(Combine combine) {
  if (combine == Combine::kSum) return reduce_loop<FloatPolicy<T, Combine::kSum>>;
  if (combine == Combine::kProd) return reduce_loop<FloatPolicy<T, Combine::kProd>>;
  return nullptr;
}

ReduceKernel float_kernel_here(DataType type, Combine combine) {
  if (type == DataType::kFloat32) return float_kernel_of<float>(combine);
  if (type == DataType::kFloat64) return float_kernel_of<double>(combine);
  return nullptr;
}

ScaleKernel float_scale_kernel_here(DataType type) {
  if (type == DataType::kFloat32) return scale_loop<FloatPolicy<float, Combine::kProd>>;
  if (type == DataType::kFloat64) return scale_loop<FloatPolicy<double, Combine::kProd>>;
  return nullptr;
}

}  // namespace HWY_NAMESPACE
}  // namespace railccl::compute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace railccl::compute {

HWY_EXPORT(float_kernel_here);
HWY_EXPORT(float_scale_kernel_here);

ReduceKernel float_kernel(DataType type, Combine combine) {
  return HWY_DYNAMIC_DISPATCH(float_kernel_here)(type, combine);
}

ScaleKernel float_scale_kernel(DataType type) {
  return HWY_DYNAMIC_DISPATCH(float_scale_kernel_here)(type);
}

}  // namespace railccl::compute
#endif
