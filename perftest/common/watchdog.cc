#include "perftest/common/watchdog.h"

#include <algorithm>
#include <utility>

namespace railccl::perftest {

Watchdog::Watchdog(int threads, Duration limit, std::function<void(int)> on_timeout)
    : limit_(limit),
      on_timeout_(std::move(on_timeout)),
      deadlines_(static_cast<size_t>(threads), Time::max()) {
  if (limit_ > Duration::zero()) thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Watchdog::arm(int thread) {
  if (limit_ == Duration::zero()) return;
  const std::lock_guard lock(mutex_);
  deadlines_[static_cast<size_t>(thread)] = std::chrono::steady_clock::now() + limit_;
  changed_.notify_all();
}

void Watchdog::disarm(int thread) {
  if (limit_ == Duration::zero()) return;
  const std::lock_guard lock(mutex_);
  deadlines_[static_cast<size_t>(thread)] = Time::max();
}

bool Watchdog::timed_out() const {
  const std::lock_guard lock(mutex_);
  return timed_out_;
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const auto first = std::ranges::min_element(deadlines_);
    const Time deadline = *first;
    if (deadline == Time::max()) {
      changed_.wait(lock);
    } else if (std::chrono::steady_clock::now() < deadline) {
      changed_.wait_until(lock, deadline);
    } else {
      timed_out_ = true;
      const auto thread = static_cast<int>(first - deadlines_.begin());
      lock.unlock();
      on_timeout_(thread);
      return;
    }
  }
}

}  // namespace railccl::perftest
