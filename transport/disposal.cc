#include "transport/disposal.h"

#include <utility>

namespace railccl {

Disposal::~Disposal() {
  {
    const MutexLock lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

std::future<void> Disposal::give(std::packaged_task<void()> work) {
  std::future<void> done = work.get_future();
  const MutexLock lock(mutex_);
  given_.push_back(std::move(work));
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  changed_.notify_one();
  return done;
}

void Disposal::run() {
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
  }
}

}  // namespace railccl
