// Scopes in which the driver is called on behalf of a caller, whose own state is put back. Any
// thread.
#pragma once

#include "cuda/driver.h"

namespace railccl::cuda {

class ContextScope {
 public:
  ContextScope(const Driver& driver, Context context) : driver_(driver) {
    driver_.context_push(context);
  }
  ~ContextScope() {
    Context popped = nullptr;
    driver_.context_pop(&popped);
  }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 private:
  const Driver& driver_;
};

// Memory may be asked for although a stream of this thread is being captured.
class RelaxedCaptureScope {
 public:
  explicit RelaxedCaptureScope(const Driver& driver) : driver_(driver) {
    driver_.thread_exchange_capture_mode(&mode_);
  }
  ~RelaxedCaptureScope() { driver_.thread_exchange_capture_mode(&mode_); }
  RelaxedCaptureScope(const RelaxedCaptureScope&) = delete;
  RelaxedCaptureScope& operator=(const RelaxedCaptureScope&) = delete;

 private:
  const Driver& driver_;
  int mode_ = kCaptureRelaxed;
};

// Both, for calls about memory in a context that need not be the caller's.
class MemoryScope {
 public:
  MemoryScope(const Driver& driver, Context context)
      : in_context_(driver, context), relaxed_(driver) {}

 private:
  ContextScope in_context_;
  RelaxedCaptureScope relaxed_;
};

}  // namespace railccl::cuda
