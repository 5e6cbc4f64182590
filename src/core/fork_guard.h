// A descriptor that a forked child does not keep. A child that holds a copy of a rank's socket
// hides the death of that rank: the stream ends only when the last copy is closed. (Data loaders
// are forked from training processes all the time.) After fork() the child finds /dev/null under
// the number, so that whatever it still does with its copies of our objects stays without effect.
//
// Any thread. One owner at a time, move-only.
#pragma once

#include <utility>

#include "src/base/unique_fd.h"

namespace railccl::boot {

class GuardedFd {
 public:
  GuardedFd() = default;
  explicit GuardedFd(UniqueFd fd);
  GuardedFd(GuardedFd&&) = default;
  GuardedFd& operator=(GuardedFd&& other) noexcept {
    reset();
    fd_ = std::move(other.fd_);
    return *this;
  }
  ~GuardedFd() { reset(); }

  int get() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  void reset();

 private:
  UniqueFd fd_;
};

}  // namespace railccl::boot
