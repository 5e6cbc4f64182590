// Copy with non-temporal stores: the destination's lines are neither read first nor left in the
// cache.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/compute/stream_copy.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "src/compute/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace railccl::compute {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// `dst` is aligned to a line.
HWY_INLINE void stream_line(uint8_t* dst, const uint8_t* src) {
#if HWY_TARGET == HWY_SCALAR
  std::memcpy(dst, src, kLineBytes);
#else
  const hn::CappedTag<uint8_t, kLineBytes> d;
  for (size_t i = 0; i < kLineBytes; i += hn::Lanes(d)) {
    hn::Stream(hn::LoadU(d, src + i), d, dst + i);
  }
#endif
}

void stream_copy_here(uint8_t* dst, const uint8_t* src, size_t bytes) {
  const size_t misaligned = reinterpret_cast<uintptr_t>(dst) % kLineBytes;
  const size_t head = misaligned == 0 ? 0 : std::min(bytes, kLineBytes - misaligned);
  std::memcpy(dst, src, head);
  size_t at = head;
  for (; at + kLineBytes <= bytes; at += kLineBytes) stream_line(dst + at, src + at);
  std::memcpy(dst + at, src + at, bytes - at);
}

}  // namespace HWY_NAMESPACE
}  // namespace railccl::compute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace railccl::compute {

HWY_EXPORT(stream_copy_here);

void stream_copy(uint8_t* dst, const uint8_t* src, size_t bytes) {
  HWY_DYNAMIC_DISPATCH(stream_copy_here)(dst, src, bytes);
}

void stream_fence() { hwy::FlushStream(); }

}  // namespace railccl::compute
#endif
