#include "work.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace railccl_torch {
namespace {

constexpr unsigned kSliceMs = 200;  // of waiting, between two looks at the timeout

}  // namespace

void check(ncclResult_t result, const char* what) {
  if (result == ncclSuccess) return;
  const std::string text = std::string("railccl: ") + what + ": " + ncclGetLastError(nullptr);
  if (result == ncclRemoteError) C10_THROW_ERROR(DistBackendError, text);
  TORCH_CHECK(false, text);
}

RailcclWork::RailcclWork(int rank, c10d::OpType type, std::chrono::milliseconds timeout,
                         std::vector<at::Tensor> outputs, std::vector<at::Tensor> keep,
                         std::function<void()> finish)
    : Work(rank, type),
      timeout_(timeout),
      outputs_(std::move(outputs)),
      keep_(std::move(keep)),
      finish_(std::move(finish)),
      future_(c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))) {
  check(railcclStreamCreate(&stream_), "stream");
}

RailcclWork::~RailcclWork() {
  // An operation still under way must not lose its memory.
  if (stream_ != nullptr) railcclStreamDestroy(stream_);
}

bool RailcclWork::isCompleted() { return over_.load() || poll(0); }

bool RailcclWork::isSuccess() const { return over_.load() && error_ == nullptr; }

std::exception_ptr RailcclWork::exception() const { return over_.load() ? error_ : nullptr; }

bool RailcclWork::poll(unsigned timeout_ms) {
  if (over_.load()) return true;
  std::unique_lock<std::mutex> lock(stream_mutex_, std::try_to_lock);
  if (!lock) return over_.load();
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
  while (!poll(kSliceMs)) {
    if (over_.load()) break;
    if (std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
      continue;
    }
    C10_THROW_ERROR(DistBackendError,
                    "railccl: " + c10d::opTypeToString(opType_) + " on rank " +
                        std::to_string(rank_) + " did not end within " +
                        std::to_string(limit.count()) + " ms; the log (RAILCCL_STALL_REPORT_S) says "
                        "for whom it waits");
  }
  if (error_) std::rethrow_exception(error_);
  return true;
}

Completer::Completer() : thread_([this] { run(); }) {}

Completer::~Completer() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stop_ = true;
  }
  added_.notify_one();
  thread_.join();
}

void Completer::add(const c10::intrusive_ptr<RailcclWork>& work) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    works_.push_back(work);
  }
  added_.notify_one();
}

void Completer::run() {
  for (;;) {
    std::deque<c10::intrusive_ptr<RailcclWork>> works;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      added_.wait(lock, [this] { return stop_ || !works_.empty(); });
      if (works_.empty()) return;
      works.swap(works_);
    }
    // The oldest one usually ends first; the others are looked at in between.
    works.front()->poll(1);
    std::erase_if(works, [](const auto& work) { return work->poll(0); });
    const std::lock_guard<std::mutex> guard(mutex_);
    works_.insert(works_.begin(), works.begin(), works.end());
    if (stop_) return;
  }
}

}  // namespace railccl_torch
