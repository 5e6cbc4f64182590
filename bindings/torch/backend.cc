#include "backend.h"

#include <cstring>
#include <utility>

namespace railccl_torch {
namespace {

constexpr const char* kIdKey = "railccl_unique_id";

std::vector<uint8_t> id_bytes() {
  ncclUniqueId id;
  check(ncclGetUniqueId(&id), "unique id");
  return {id.internal, id.internal + NCCL_UNIQUE_ID_BYTES};
}

ncclUniqueId share_id(c10d::Store& store, int rank) {
  if (rank == 0) store.set(kIdKey, id_bytes());
  const std::vector<uint8_t> bytes = store.get(kIdKey);
  TORCH_CHECK(bytes.size() == NCCL_UNIQUE_ID_BYTES, "railccl: the store holds a damaged unique id");
  ncclUniqueId id;
  std::memcpy(id.internal, bytes.data(), bytes.size());
  return id;
}

}  // namespace

RailcclBackend::RailcclBackend(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                               std::chrono::milliseconds timeout)
    : Backend(rank, size), timeout_(timeout) {
  const ncclUniqueId id = share_id(*store, rank);
  check(ncclCommInitRank(&comm_, size, id, rank), "init_process_group");
  completer_ = Completer::make();
}

RailcclBackend::~RailcclBackend() { shutdown(); }

// What is under way ends first, and its futures fire. A callback of one of them may come here, too,
// so nothing is locked while their thread is waited for.
void RailcclBackend::shutdown() {
  std::unique_lock<std::mutex> lock(comm_mutex_);
  if (comm_ != nullptr && !ending_) {
    end(lock, [this](ncclComm_t comm, auto& held) {
      held.unlock();
      ncclCommFinalize(comm);
      held.lock();
      comm_ = nullptr;  // out of reach of abort()
      held.unlock();
      ncclCommDestroy(comm);
    });
  }
  ended_.wait(lock, [this] { return !ending_; });
  const std::shared_ptr<Completer> completer = std::move(completer_);
  lock.unlock();
}

// What is under way ends with an error, in whichever thread waits for it; so does a shutdown that
// waits for it in another thread.
void RailcclBackend::abort() {
  std::unique_lock<std::mutex> lock(comm_mutex_);
  if (comm_ != nullptr && ending_) {
    ncclCommRevoke(comm_, NCCL_REVOKE_DEFAULT);
  } else if (comm_ != nullptr) {
    end(lock, [this](ncclComm_t comm, auto& held) {
      comm_ = nullptr;
      held.unlock();
      ncclCommAbort(comm);
    });
  }
  ended_.wait(lock, [this] { return !ending_; });
}

// `how` lets go of the lock.
template <typename How>
void RailcclBackend::end(std::unique_lock<std::mutex>& lock, const How& how) {
  ending_ = true;
  coalesced_.clear();  // has operators of the communicator
  how(comm_, lock);
  lock.lock();
  ending_ = false;
  ended_.notify_all();
}

void RailcclBackend::check_alive() const {
  TORCH_CHECK(comm_ != nullptr && !ending_, "railccl: the process group was shut down or aborted");
}

RailcclBackend::WorkPtr RailcclBackend::start(Job job) {
  std::unique_lock<std::mutex> lock(comm_mutex_);
  check_alive();
  if (coalescing_) {
    coalesced_.push_back(std::move(job));
    return c10::make_intrusive<NoWork>(rank_, coalesced_.back().type);
  }
  ++sequence_;
  const auto timeout = job.timeout == c10d::kUnsetTimeout ? timeout_ : job.timeout;
  auto work = c10::make_intrusive<RailcclWork>(rank_, job.type, timeout, std::move(job.outputs),
                                               std::move(job.keep), std::move(job.finish));
  job.begin(work->stream());
  const std::shared_ptr<Completer> completer = completer_;
  lock.unlock();
  completer->add(work);
  return work;
}

// What `issue` calls, as one operation; none of it begins when one is refused. Within a group of
// the caller's it is a part of that one.
RailcclBackend::WorkPtr RailcclBackend::together(const std::function<void()>& issue) {
  if (coalescing_) {
    issue();
    return c10::make_intrusive<NoWork>(rank_, c10d::OpType::COALESCED);
  }
  startCoalescing();
  try {
    issue();
  } catch (...) {
    coalescing_ = false;
    coalesced_.clear();
    throw;
  }
  return endCoalescing();
}

void RailcclBackend::startCoalescing() {
  coalescing_ = true;
  coalesced_.clear();
}

RailcclBackend::WorkPtr RailcclBackend::endCoalescing() {
  coalescing_ = false;
  // Also of a group that has ended: torch aborts groups between startCoalescing and endCoalescing.
  if (coalesced_.empty()) return c10::make_intrusive<NoWork>(rank_, c10d::OpType::COALESCED);
  auto jobs = std::make_shared<std::vector<Job>>(std::move(coalesced_));
  coalesced_.clear();
  Job all{.type = c10d::OpType::COALESCED};
  // Without the jobs: they have operators, which must not outlive the communicator.
  std::vector<std::function<void()>> finishes;
  for (const Job& job : *jobs) {
    if (job.finish) finishes.push_back(job.finish);
    all.outputs.insert(all.outputs.end(), job.outputs.begin(), job.outputs.end());
    all.keep.insert(all.keep.end(), job.keep.begin(), job.keep.end());
  }
  all.begin = [jobs](railcclStream_t stream) {
    check(ncclGroupStart(), "group");
    for (const Job& job : *jobs) job.begin(stream);
    check(ncclGroupEnd(), "group");
  };
  all.finish = [finishes = std::move(finishes)] {
    for (const auto& finish : finishes) finish();
  };
  return start(std::move(all));
}

}  // namespace railccl_torch
