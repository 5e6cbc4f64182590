// Gives something back in a thread of its own: the system may take seconds over it, as over a queue
// pair whose port has lost its cable, and the thread that owns a rail must not stand still for
// that. What it needs to end must outlive the Disposal, whose destructor waits. One thread at a
// time.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <utility>

namespace railccl {

class Disposal {
 public:
  Disposal() = default;  // of nothing
  // By this thread, in is_done(), where there can be no other.
  template <typename T>
  explicit Disposal(std::unique_ptr<T> thing)
      : done_(std::async([thing = std::move(thing)]() mutable { thing.reset(); })) {}

  bool is_done() const {
    if (done_.valid() && done_.wait_for(std::chrono::seconds(0)) == std::future_status::timeout) {
      return false;
    }
    wait();
    return true;
  }
  void wait() const {
    if (done_.valid()) done_.wait();
  }

 private:
  std::future<void> done_;
};

}  // namespace railccl
