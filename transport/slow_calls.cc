#include "transport/slow_calls.h"

#include <utility>

namespace railccl {

SlowCalls::~SlowCalls() {
  {
    const MutexLock lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void SlowCalls::push(std::packaged_task<void()> work) {
  const MutexLock lock(mutex_);
  ++waiting_;
  given_.push_back(std::move(work));
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  changed_.notify_one();
}

bool SlowCalls::is_held_up(std::chrono::nanoseconds longest) const {
  const auto began = call_began_.load();
  return began != std::chrono::steady_clock::time_point{} &&
         std::chrono::steady_clock::now() - began > longest;
}

void SlowCalls::run() {
  while (true) {
    std::packaged_task<void()> work;
    {
      const MutexLock lock(mutex_);
      while (given_.empty() && !ends_) changed_.wait(mutex_);
      if (given_.empty()) return;
      work = std::move(given_.front());
      given_.pop_front();
    }
    call_began_ = std::chrono::steady_clock::now();
    work();
    call_began_ = std::chrono::steady_clock::time_point{};
    --waiting_;
  }
}

}  // namespace railccl
