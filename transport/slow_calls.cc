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
    work();
    --waiting_;
  }
}

}  // namespace railccl
