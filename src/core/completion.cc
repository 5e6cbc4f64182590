#include "src/core/completion.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace railccl {
namespace {

long futex(std::atomic<uint32_t>& word, int operation, uint32_t value, const timespec* timeout) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr, 0);
}

}  // namespace

// Its owner may destroy it as soon as it is done, so the wake-up uses the address and no more; a
// later owner of that address is woken for nothing.
void Completion::complete(Status status) {
  status_ = std::move(status);
  const uint32_t before = state_.exchange(kDone, std::memory_order_acq_rel);
  if (before == kAwaited) futex(state_, FUTEX_WAKE, INT32_MAX, nullptr);
}

void Completion::wait_for(TimeNs timeout_ns) {
  uint32_t expected = kPending;
  state_.compare_exchange_strong(expected, kAwaited, std::memory_order_acq_rel);
  if (expected == kDone) return;
  const timespec timeout{.tv_sec = static_cast<time_t>(timeout_ns / kSecond),
                         .tv_nsec = static_cast<long>(timeout_ns % kSecond)};
  futex(state_, FUTEX_WAIT, kAwaited, &timeout);
}

}  // namespace railccl
