// The epoll descriptor on which everything of one bootstrap object hangs, so that its owner can
// sleep on one descriptor. One thread at a time. Readiness is a hint: who is called for a
// descriptor finds out by trying.
#pragma once

#include <span>
#include <vector>

#include "src/base/status.h"
#include "src/core/fork_guard.h"

namespace railccl::boot {

class Poller {
 public:
  static Result<Poller> create();

  // Readable, and if `write` also writable. Changes what was asked before.
  Status watch(int fd, bool write);
  void forget(int fd);
  // The descriptors that are ready; waits for at most `timeout_ms`. Valid until the next call.
  std::span<const int> ready(int timeout_ms);
  int fd() const { return epoll_.get(); }

 private:
  Poller() = default;

  GuardedFd epoll_;
  std::vector<int> ready_;
};

}  // namespace railccl::boot
