// The loop that every reduce and scale kernel is: a policy says how one vector of a type is loaded,
// combined and finished; the loop walks the buffers. Included once per SIMD target by the kernel
// families; nobody else includes it.
//
// A policy has: kElementBytes; kUnroll; Acc, what is kept in registers; Raw, the tag of the one
// full vector in memory that an Acc covers, and its bytes(); load(pointer) -> Acc; combine(Acc,
// Acc) -> Acc; finish(Acc) -> vector of Raw. All of it is element-wise, so a short tail goes
// through the same code in a padded buffer and gives the same bits.

#if defined(RAILCCL_COMPUTE_KERNEL_LOOP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RAILCCL_COMPUTE_KERNEL_LOOP_INL_H_
#undef RAILCCL_COMPUTE_KERNEL_LOOP_INL_H_
#else
#define RAILCCL_COMPUTE_KERNEL_LOOP_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "src/compute/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace railccl::compute {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Unaligned access to bytes of any type (Highway's one-lane target dereferences T* itself).
template <class D>
HWY_INLINE hn::Vec<D> load_bytes(D d, const uint8_t* from) {
#if HWY_TARGET == HWY_SCALAR
  hn::TFromD<D> value;
  std::memcpy(&value, from, sizeof(value));
  return hn::Set(d, value);
#else
  return hn::LoadU(d, reinterpret_cast<const hn::TFromD<D>*>(from));
#endif
}

template <class D>
HWY_INLINE void store_bytes(hn::Vec<D> v, D d, uint8_t* to) {
#if HWY_TARGET == HWY_SCALAR
  const hn::TFromD<D> value = hn::GetLane(v);
  std::memcpy(to, &value, sizeof(value));
  (void)d;
#else
  hn::StoreU(v, d, reinterpret_cast<hn::TFromD<D>*>(to));
#endif
}

// Non-temporal where the target has that; `to` is aligned to the vector.
template <class D>
HWY_INLINE void stream_bytes(hn::Vec<D> v, D d, uint8_t* to) {
#if HWY_TARGET == HWY_SCALAR
  store_bytes(v, d, to);
#else
  hn::Stream(v, d, reinterpret_cast<hn::TFromD<D>*>(to));
#endif
}

// K accumulators side by side, all in registers.
template <class Policy, size_t K>
struct Accumulators {
  typename Policy::Acc head;
  Accumulators<Policy, K - 1> rest;

  HWY_INLINE void load(const Policy& policy, const uint8_t* src) {
    head = policy.load(src);
    rest.load(policy, src + Policy::bytes());
  }
  HWY_INLINE void combine(const Policy& policy, const uint8_t* src) {
    head = policy.combine(head, policy.load(src));
    rest.combine(policy, src + Policy::bytes());
  }
};

template <class Policy>
struct Accumulators<Policy, 0> {
  HWY_INLINE void load(const Policy&, const uint8_t*) {}
  HWY_INLINE void combine(const Policy&, const uint8_t*) {}
};

template <class Policy, size_t K>
struct Finished {
  decltype(Policy().finish(typename Policy::Acc())) head;
  Finished<Policy, K - 1> rest;

  HWY_INLINE Finished(const Policy& policy, const Accumulators<Policy, K>& from)
      : head(policy.finish(from.head)), rest(policy, from.rest) {}
  template <bool kStream>
  HWY_INLINE void store(uint8_t* dst) const {
    constexpr typename Policy::Raw d;
    if constexpr (kStream) {
      stream_bytes(head, d, dst);
    } else {
      store_bytes(head, d, dst);
    }
    rest.template store<kStream>(dst + Policy::bytes());
  }
};

template <class Policy>
struct Finished<Policy, 0> {
  HWY_INLINE Finished(const Policy&, const Accumulators<Policy, 0>&) {}
  template <bool kStream>
  HWY_INLINE void store(uint8_t*) const {}
};

// All sources are loaded before the first store: a dst may be a src.
template <size_t K, bool kStream, class Policy>
HWY_INLINE void reduce_step(const Policy& policy, const ReduceArgs& args, size_t at) {
  Accumulators<Policy, K> accumulators;
  const size_t from = args.src_offset + at;
  accumulators.load(policy, args.srcs[0] + from);
  for (size_t s = 1; s < args.src_count; ++s) accumulators.combine(policy, args.srcs[s] + from);
  const Finished<Policy, K> finished(policy, accumulators);
  for (size_t d = 0; d < args.dst_count; ++d) {
    finished.template store<kStream>(args.dsts[d] + args.dst_offset + at);
  }
}

// Fewer bytes than one Acc covers, at the end.
template <class Policy>
HWY_INLINE void reduce_tail(const Policy& policy, const ReduceArgs& args, size_t at, size_t bytes) {
  alignas(64) uint8_t padded[HWY_MAX_BYTES] = {};
  const size_t from = args.src_offset + at;
  std::memcpy(padded, args.srcs[0] + from, bytes);
  typename Policy::Acc acc = policy.load(padded);
  for (size_t s = 1; s < args.src_count; ++s) {
    std::memcpy(padded, args.srcs[s] + from, bytes);
    acc = policy.combine(acc, policy.load(padded));
  }
  store_bytes(policy.finish(acc), typename Policy::Raw(), padded);
  for (size_t d = 0; d < args.dst_count; ++d) {
    std::memcpy(args.dsts[d] + args.dst_offset + at, padded, bytes);
  }
}

template <class Policy>
void reduce_loop(const ReduceArgs& args) {
  const Policy policy(args.divisor);
  const size_t bytes = args.count * Policy::kElementBytes;
  const size_t one = Policy::bytes();
  const size_t all = one * Policy::kUnroll;
  size_t at = 0;
  if (args.streaming) {
    for (; at + all <= bytes; at += all) reduce_step<Policy::kUnroll, true>(policy, args, at);
  }
  for (; at + all <= bytes; at += all) reduce_step<Policy::kUnroll, false>(policy, args, at);
  for (; at + one <= bytes; at += one) reduce_step<1, false>(policy, args, at);
  if (at < bytes) reduce_tail(policy, args, at, bytes - at);
}

// dst = src combined with the scalar in every element (a product policy).
template <class Policy>
void scale_loop(const ScaleArgs& args) {
  const Policy policy;
  const size_t bytes = args.count * Policy::kElementBytes;
  const size_t one = Policy::bytes();
  alignas(64) uint8_t padded[HWY_MAX_BYTES] = {};
  for (size_t at = 0; at < one; at += Policy::kElementBytes) {
    std::memcpy(padded + at, args.scalar, Policy::kElementBytes);
  }
  const typename Policy::Acc scalar = policy.load(padded);
  constexpr typename Policy::Raw d;
  const auto scaled = [&](const uint8_t* src) HWY_ATTR {
    return policy.finish(policy.combine(policy.load(src), scalar));
  };
  size_t at = 0;
  for (; at + one <= bytes; at += one) store_bytes(scaled(args.src + at), d, args.dst + at);
  if (at == bytes) return;
  std::memcpy(padded, args.src + at, bytes - at);
  store_bytes(scaled(padded), d, padded);
  std::memcpy(args.dst + at, padded, bytes - at);
}

}  // namespace HWY_NAMESPACE
}  // namespace railccl::compute
HWY_AFTER_NAMESPACE();

#endif  // RAILCCL_COMPUTE_KERNEL_LOOP_INL_H_
