// The floating-point rules that results are defined under: round to nearest even, denormals kept. A
// caller's thread may have others (torch.set_flush_denormal, fesetround); while an object of this
// class lives, its thread computes under ours. Internal to src/compute.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace railccl::compute {

class FloatEnvironment {
 public:
#if defined(__x86_64__)
  FloatEnvironment() : saved_(_mm_getcsr()) {
    if (saved_ != kDefault) _mm_setcsr(kDefault);
  }
  // Also drops the exception flags that our own arithmetic raised.
  ~FloatEnvironment() { _mm_setcsr(saved_); }
#elif defined(__aarch64__)
  FloatEnvironment() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, xzr");
  }
  ~FloatEnvironment() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }
#else
#error "FloatEnvironment: not written for this processor"
#endif
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr unsigned kDefault = 0x1F80;  // MXCSR: all exceptions masked
  unsigned saved_;
#elif defined(__aarch64__)
  unsigned long saved_;
#endif
};

}  // namespace railccl::compute
