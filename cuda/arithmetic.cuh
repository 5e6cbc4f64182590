// What one element of a reduction is on the GPU: the rules of docs/numerics.md, bit for bit those
// of the host's kernels. Compiled with -fmad=false.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

namespace railccl::cuda {

enum class Combine { kAdd, kMultiply, kMaximum, kMinimum };

// Integers: in the type itself, modulo 2^n; `Wide` holds the division.
template <class T, class Unsigned, class Wide>
struct IntegerType {
  using Stored = T;
  using Acc = T;
  static __device__ Acc load(Stored v) { return v; }
  static __device__ Stored finish(Acc v, uint32_t divide_by) {
    return divide_by > 1 ? static_cast<T>(static_cast<Wide>(v) / static_cast<Wide>(divide_by)) : v;
  }
  template <Combine kCombine>
  static __device__ Acc combine(Acc a, Acc b) {
    if constexpr (kCombine == Combine::kAdd) {
      return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
    } else if constexpr (kCombine == Combine::kMultiply) {
      // In 32 bits at least: narrow unsigned types would be promoted to int, which may overflow.
      return static_cast<T>(
          static_cast<Unsigned>(1U * static_cast<Unsigned>(a) * static_cast<Unsigned>(b)));
    } else if constexpr (kCombine == Combine::kMaximum) {
      return a > b ? a : b;
    } else {
      return a < b ? a : b;
    }
  }
};

// Floats, added and multiplied: Format has Stored, Acc, load(), store() (rounds once) and the bits
// of the one NaN that results carry.
template <class Format>
struct FloatSums {
  using Stored = typename Format::Stored;
  using Acc = typename Format::Acc;
  static __device__ Acc load(Stored v) { return Format::load(v); }
  static __device__ Stored finish(Acc v, uint32_t divide_by) {
    if (divide_by > 1) v = v / static_cast<Acc>(divide_by);
    return v == v ? Format::store(v) : static_cast<Stored>(Format::kNan);
  }
  template <Combine kCombine>
  static __device__ Acc combine(Acc a, Acc b) {
    return kCombine == Combine::kAdd ? a + b : a * b;
  }
};

// Floats, compared: on their bits, so that one of the operands comes out exactly.
template <class Format>
struct FloatOrder {
  using Stored = typename Format::Stored;
  using Acc = Stored;
  static constexpr Stored kMagnitude =
      static_cast<Stored>(~(Stored{1} << (8 * sizeof(Stored) - 1)));
  static __device__ Acc load(Stored v) { return is_nan(v) ? static_cast<Stored>(Format::kNan) : v; }
  static __device__ Stored finish(Acc v, uint32_t) { return v; }
  static __device__ bool is_nan(Stored v) { return (v & kMagnitude) > Format::kLargest; }
  // Orders as the numbers do, -0 below +0.
  static __device__ typename Format::Signed key(Stored v) {
    const bool negative = (v & ~kMagnitude) != 0;
    return static_cast<typename Format::Signed>(negative ? static_cast<Stored>(v ^ kMagnitude) : v);
  }
  template <Combine kCombine>
  static __device__ Acc combine(Acc a, Acc b) {
    if (is_nan(a) || is_nan(b)) return static_cast<Stored>(Format::kNan);
    const bool first = kCombine == Combine::kMaximum ? key(a) >= key(b) : key(a) <= key(b);
    return first ? a : b;
  }
};

struct Float64 {
  using Stored = unsigned long long;
  using Signed = long long;
  using Acc = double;
  static constexpr Stored kLargest = 0x7FF0000000000000, kNan = 0x7FF8000000000000;
  static __device__ Acc load(Stored v) { return __longlong_as_double(static_cast<long long>(v)); }
  static __device__ Stored store(Acc v) { return static_cast<Stored>(__double_as_longlong(v)); }
};
struct Float32 {
  using Stored = uint32_t;
  using Signed = int32_t;
  using Acc = float;
  static constexpr Stored kLargest = 0x7F800000, kNan = 0x7FC00000;
  static __device__ Acc load(Stored v) { return __uint_as_float(v); }
  static __device__ Stored store(Acc v) { return __float_as_uint(v); }
};
struct Float16 {
  using Stored = uint16_t;
  using Signed = int16_t;
  using Acc = float;
  static constexpr Stored kLargest = 0x7C00, kNan = 0x7E00;
  static __device__ Acc load(Stored v) { return __half2float(__ushort_as_half(v)); }
  static __device__ Stored store(Acc v) { return __half_as_ushort(__float2half_rn(v)); }
};
struct Bfloat16 {
  using Stored = uint16_t;
  using Signed = int16_t;
  using Acc = float;
  static constexpr Stored kLargest = 0x7F80, kNan = 0x7FC0;
  static __device__ Acc load(Stored v) { return __uint_as_float(static_cast<uint32_t>(v) << 16); }
  static __device__ Stored store(Acc v) { return __bfloat16_as_ushort(__float2bfloat16_rn(v)); }
};
template <__nv_fp8_interpretation_t kKind, unsigned char kLargestBits>
struct Float8 {
  using Stored = uint8_t;
  using Signed = int8_t;
  using Acc = float;
  static constexpr Stored kLargest = kLargestBits, kNan = 0x7F;
  static __device__ Acc load(Stored v) {
    return __half2float(__half(__nv_cvt_fp8_to_halfraw(v, kKind)));
  }
  static __device__ Stored store(Acc v) { return __nv_cvt_float_to_fp8(v, __NV_SATFINITE, kKind); }
};
using Float8e4m3 = Float8<__NV_E4M3, 0x7E>;
using Float8e5m2 = Float8<__NV_E5M2, 0x7C>;

}  // namespace railccl::cuda
