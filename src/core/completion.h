// The end of an operation, set once by whoever drives it and awaited by its caller. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "src/base/clock.h"
#include "src/base/status.h"

namespace railccl {

class Completion {
 public:
  bool done() const { return state_.load(std::memory_order_acquire) == kDone; }
  // Valid after done().
  const Status& status() const { return status_; }
  void complete(Status status);
  // Sleeps until done or the timeout has passed; may return early.
  void wait_for(TimeNs timeout_ns);

 private:
  static constexpr uint32_t kPending = 0;
  static constexpr uint32_t kAwaited = 1;  // someone sleeps on the word
  static constexpr uint32_t kDone = 2;
  std::atomic<uint32_t> state_{kPending};
  Status status_;
};

}  // namespace railccl
