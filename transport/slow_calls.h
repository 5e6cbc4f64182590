// Makes calls that the system may take long over, one after the other, off the thread that drives
// all rails:
// - Connecting a RoCE queue pair asks for the peer's address on the wire, up to a second where
//   nobody answers (rdma_resolve_ip in the kernel).
// - Destroying a queue pair whose port has lost its cable: rxe waits until its network interface
//   has let go of every packet, and an interface without a cable keeps some for as long as it looks
//   for the peer's address.
//
// Any thread may give; the last call, the destructor, returns when everything is done. What the
// calls need must outlive the SlowCalls.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <thread>
#include <type_traits>
#include <utility>

#include "src/base/mutex.h"

namespace railccl {

class SlowCalls {
 public:
  SlowCalls() = default;
  ~SlowCalls();
  SlowCalls(const SlowCalls&) = delete;
  SlowCalls& operator=(const SlowCalls&) = delete;

  // Runs `work` on the thread of this object, after what was given before. Its result, when it is
  // done.
  template <typename Work>
  std::future<std::invoke_result_t<Work&>> give(Work work) {
    std::packaged_task<std::invoke_result_t<Work&>()> task(std::move(work));
    auto done = task.get_future();
    push(std::packaged_task<void()>([task = std::move(task)]() mutable { task(); }));
    return done;
  }
  // What was given and is not done yet.
  size_t waiting() const { return waiting_; }
  // Whether one call has taken longer than that by now.
  bool is_held_up(std::chrono::nanoseconds longest) const;

 private:
  void push(std::packaged_task<void()> work);
  void run();

  Mutex mutex_;
  std::atomic<size_t> waiting_ = 0;
  std::atomic<std::chrono::steady_clock::time_point> call_began_{};  // zero: none
  std::condition_variable_any changed_;
  std::deque<std::packaged_task<void()>> given_ RAILCCL_GUARDED_BY(mutex_);
  bool ends_ RAILCCL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // from the first give() on
};

// True when what give() has promised is there.
template <typename Result>
bool is_done(const std::future<Result>& given) {
  return given.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace railccl
