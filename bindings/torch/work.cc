#include "work.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace railccl_torch {
namespace {

constexpr unsigned kSliceMs = 200;  // of waiting, between two looks at the timeout
constexpr std::chrono::microseconds kLookEvery{500};

struct Completers {
  std::mutex mutex;
  std::vector<std::weak_ptr<Completer>> all;
};

// Never destroyed: process groups may be, after everything else.
Completers& completers() {
  static Completers* const completers = new Completers;
  return *completers;
}

}  // namespace

void check(ncclResult_t result, const char* what) {
  if (result == ncclSuccess) return;
  const std::string text = std::string("railccl: ") + what + ": " + ncclGetLastError(nullptr);
  TORCH_CHECK(result != ncclInvalidArgument, text);
  C10_THROW_ERROR(DistBackendError, text);
}

RailcclWork::RailcclWork(int rank, c10d::OpType type, std::chrono::milliseconds timeout,
                         std::vector<at::Tensor> outputs, std::vector<at::Tensor> keep,
                         std::function<void()> finish)
    : Work(rank, type),
      timeout_(timeout),
      outputs_(std::move(outputs)),
      keep_(std::move(keep)),
      finish_(std::move(finish)),
      future_(
          c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))) {
  check(railcclStreamCreate(&stream_), "stream");
}

RailcclWork::~RailcclWork() {
  // An operation still under way must not lose its memory.
  if (stream_ != nullptr) railcclStreamDestroy(stream_);
}

bool RailcclWork::isCompleted() { return look(); }

bool RailcclWork::isSuccess() const { return over_.load() && error_ == nullptr; }

std::exception_ptr RailcclWork::exception() const { return over_.load() ? error_ : nullptr; }

bool RailcclWork::look() {
  if (over_.load()) return true;
  const std::unique_lock<std::timed_mutex> lock(stream_mutex_, std::try_to_lock);
  return lock ? poll(0) : over_.load();
}

// Under the lock.
bool RailcclWork::poll(unsigned timeout_ms) {
  if (over_.load()) return true;
  const ncclResult_t result =
      timeout_ms == 0 ? railcclStreamQuery(stream_) : railcclStreamWait(stream_, timeout_ms);
  if (result == ncclInProgress) return false;
  std::exception_ptr error;
  try {
    check(result, c10d::opTypeToString(opType_).c_str());
    if (finish_) finish_();
  } catch (...) {
    error = std::current_exception();
  }
  end(error);
  return true;
}

void RailcclWork::end(std::exception_ptr error) {
  error_ = error;
  finish_ = nullptr;
  keep_.clear();
  over_.store(true);
  if (error) {
    future_->setError(error);
  } else {
    future_->markCompleted(at::IValue(outputs_));
  }
}

bool RailcclWork::wait(std::chrono::milliseconds timeout) {
  const auto limit = timeout == kNoTimeout || timeout.count() < 0 ? timeout_ : timeout;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::unique_lock<std::timed_mutex> lock(stream_mutex_, std::defer_lock);
  // A callback of its future may wait once more, in the thread that holds the lock.
  if (!over_.load()) (void)lock.try_lock_until(deadline);
  while (!over_.load() && !(lock && poll(kSliceMs))) {
    if (lock && std::chrono::steady_clock::now() < deadline) continue;
    C10_THROW_ERROR(DistBackendError, "railccl: " + c10d::opTypeToString(opType_) + " on rank " +
                                          std::to_string(rank_) + " did not end within " +
                                          std::to_string(limit.count()) +
                                          " ms; the log (RAILCCL_STALL_REPORT_S) says "
                                          "for whom it waits");
  }
  if (error_) std::rethrow_exception(error_);
  return true;
}

std::shared_ptr<Completer> Completer::make() {
  std::shared_ptr<Completer> made(new Completer);
  const std::lock_guard<std::mutex> guard(completers().mutex);
  std::erase_if(completers().all, [](const auto& each) { return each.expired(); });
  completers().all.push_back(made);
  return made;
}

Completer::Completer() : thread_([state = state_] { run(*state); }) {}

Completer::~Completer() { stop(); }

// Whatever a future's callbacks do in their threads, the list is free meanwhile.
void Completer::stop_all() {
  std::vector<std::weak_ptr<Completer>> all;
  {
    const std::lock_guard<std::mutex> guard(completers().mutex);
    all = completers().all;
  }
  for (const auto& each : all) {
    if (const auto completer = each.lock()) completer->stop();
  }
}

void Completer::stop() {
  {
    const std::lock_guard<std::mutex> guard(state_->mutex);
    state_->stop = true;
  }
  state_->added.notify_one();
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // it ends when the callback that it is in has returned
  } else {
    thread_.join();
  }
}

void Completer::add(const c10::intrusive_ptr<RailcclWork>& work) {
  std::unique_lock<std::mutex> lock(state_->mutex);
  if (state_->stop) {
    lock.unlock();
    try {
      work->wait(kNoTimeout);
    } catch (...) {  // the work has it, for whoever asks
    }
    return;
  }
  state_->works.push_back(work);
  if (state_->works.size() == 1) state_->added.notify_one();
}

// Whoever waits for a work drives it and must not find it taken; so works are looked at only now
// and then, and once more at the end: what their communicator's end has ended.
void Completer::run(State& state) {
  std::unique_lock<std::mutex> lock(state.mutex);
  for (bool stop = false; !stop;) {
    state.added.wait(lock, [&state] { return state.stop || !state.works.empty(); });
    stop = state.added.wait_for(lock, kLookEvery, [&state] { return state.stop; });
    std::deque<c10::intrusive_ptr<RailcclWork>> works;
    works.swap(state.works);
    lock.unlock();
    std::erase_if(works, [](const auto& work) { return work->look(); });
    lock.lock();
    state.works.insert(state.works.begin(), works.begin(), works.end());
  }
}

}  // namespace railccl_torch
