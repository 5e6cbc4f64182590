// One asynchronous operation of the backend: a stream of its own in the library, a c10d::Work and a
// future on top.
#pragma once

#include <railccl/railccl.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

namespace railccl_torch {

// Throws an error with the library's own sentence unless `result` is success: DistBackendError, or
// RuntimeError for wrong arguments.
void check(ncclResult_t result, const char* what);

class RailcclWork : public c10d::Work {
 public:
  // `begin` gives the operation to the stream. `finish` runs once, when the result is there, before
  // anybody is told (copies results back). `keep` holds every tensor that the operation reads or
  // writes.
  RailcclWork(int rank, c10d::OpType type, std::chrono::milliseconds timeout,
              std::vector<at::Tensor> outputs, std::vector<at::Tensor> keep,
              std::function<void()> finish);
  ~RailcclWork() override;

  railcclStream_t stream() const { return stream_; }

  bool isCompleted() override;
  bool isSuccess() const override;
  std::exception_ptr exception() const override;
  std::vector<at::Tensor> result() override { return outputs_; }
  void synchronize() override { wait(kNoTimeout); }
  bool wait(std::chrono::milliseconds timeout) override;
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

  // Looks whether it is over, and ends it if so; at once false while somebody waits for it.
  bool look();
  void fail(const std::string& message);

 private:
  bool poll(unsigned timeout_ms);
  void end(std::exception_ptr error);

  railcclStream_t stream_ = nullptr;
  std::chrono::milliseconds timeout_;
  std::vector<at::Tensor> outputs_;
  std::vector<at::Tensor> keep_;
  std::function<void()> finish_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
  mutable std::timed_mutex stream_mutex_;  // one thread at a time asks the stream
  std::atomic<bool> over_{false};
  std::exception_ptr error_;
};

// Nobody has to wait for it: a part of a group, of which the group's own work tells, or a group of
// nothing.
class NoWork : public c10d::Work {
 public:
  NoWork(int rank, c10d::OpType type) : Work(rank, type) { finish(); }
};

// Completes works that nobody waits for, so that their futures fire.
class Completer {
 public:
  static std::shared_ptr<Completer> make();
  ~Completer();
  // After stop_all() it waits for the work instead.
  void add(const c10::intrusive_ptr<RailcclWork>& work);
  // Stops all there are, for good: the interpreter is about to end, and a thread that then lets go
  // of a tensor which Python has seen would be ended in the middle of it.
  static void stop_all();

 private:
  // What the thread has for itself: a callback of a future may let go of the Completer.
  struct State {
    std::mutex mutex;
    std::condition_variable added;
    std::deque<c10::intrusive_ptr<RailcclWork>> works;
    bool stop = false;
  };

  Completer();
  static void run(State& state);
  void stop();

  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::thread thread_;
};

}  // namespace railccl_torch
