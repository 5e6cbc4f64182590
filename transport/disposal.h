// Gives things back to the system off the thread that owns a rail: that may take seconds, as over a
// queue pair whose port has lost its cable (rxe waits until its network interface has let go of
// every packet, and an interface without a cable keeps some for as long as it looks for the peer's
// address). The other rails cannot wait for it.
//
// Any thread may give; the last call, the destructor, returns when everything is gone. What the
// things need to end must outlive the Disposal.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <thread>

#include "src/base/mutex.h"

namespace railccl {

class Disposal {
 public:
  Disposal() = default;
  ~Disposal();
  Disposal(const Disposal&) = delete;
  Disposal& operator=(const Disposal&) = delete;

  // Runs `work` on the thread of this object, after what was given before. Ready when it is done.
  std::future<void> give(std::packaged_task<void()> work);

 private:
  void run();

  Mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::packaged_task<void()>> given_ RAILCCL_GUARDED_BY(mutex_);
  bool ends_ RAILCCL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // from the first give() on
};

// True when what give() has promised is done.
inline bool is_done(const std::future<void>& given) {
  return given.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace railccl
