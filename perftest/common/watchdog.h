// -T: gives up on ranks of this process that are too long in one measurement. One per process, with
// a thread of its own when there is a limit; arm() and disarm() come from the ranks' threads.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace railccl::perftest {

class Watchdog {
 public:
  using Duration = std::chrono::steady_clock::duration;
  // `on_timeout` is called once, from the watchdog's thread, for the first rank that is too late;
  // it must wake the waiting ranks. limit zero: never.
  Watchdog(int threads, Duration limit, std::function<void(int thread)> on_timeout);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void arm(int thread);
  void disarm(int thread);
  bool timed_out() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  void watch();

  const Duration limit_;
  const std::function<void(int)> on_timeout_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Time> deadlines_;
  bool timed_out_ = false;
  bool ending_ = false;
  std::thread thread_;
};

// Armed for as long as it lives.
class Watched {
 public:
  Watched(Watchdog& watchdog, int thread) : watchdog_(watchdog), thread_(thread) {
    watchdog_.arm(thread_);
  }
  ~Watched() { watchdog_.disarm(thread_); }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

 private:
  Watchdog& watchdog_;
  int thread_;
};

}  // namespace railccl::perftest
