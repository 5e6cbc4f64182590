// The store-load barrier between "what others may wait for" and "does anyone sleep", and the pause
// of a spinning loop. Any thread.
#pragma once

#include <atomic>

namespace railccl {

// ThreadSanitizer does not model fences and g++ warns so. Nothing here relies on one for the order
// of data, which release stores and acquire loads give; only for "store, then load another word".
inline void full_fence() {
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
  std::atomic_thread_fence(std::memory_order_seq_cst);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

inline void cpu_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace railccl
