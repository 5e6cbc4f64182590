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

ncclComm_t RailcclBackend::take_comm() {
  const std::lock_guard<std::mutex> guard(comm_mutex_);
  return std::exchange(comm_, nullptr);
}

// What is under way ends first, and its futures fire.
void RailcclBackend::shutdown() {
  const ncclComm_t comm = take_comm();
  if (comm != nullptr) ncclCommDestroy(comm);
  completer_.reset();
}

// What is under way ends with an error, in whichever thread waits for it.
void RailcclBackend::abort() {
  const ncclComm_t comm = take_comm();
  if (comm != nullptr) ncclCommAbort(comm);
}

void RailcclBackend::check_alive() const {
  TORCH_CHECK(comm_ != nullptr, "railccl: the process group was shut down or aborted");
}

RailcclBackend::WorkPtr RailcclBackend::start(Job job) {
  std::unique_lock<std::mutex> lock(comm_mutex_);
  check_alive();
  if (coalescing_) {
    coalesced_.push_back(std::move(job));
    // Completed together with the others, by endCoalescing.
    return c10::make_intrusive<c10d::Work>(rank_, coalesced_.back().type);
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

void RailcclBackend::startCoalescing() {
  coalescing_ = true;
  coalesced_.clear();
}

RailcclBackend::WorkPtr RailcclBackend::endCoalescing() {
  coalescing_ = false;
  auto jobs = std::make_shared<std::vector<Job>>(std::move(coalesced_));
  coalesced_.clear();
  Job all{.type = c10d::OpType::COALESCED};
  for (const Job& job : *jobs) {
    all.outputs.insert(all.outputs.end(), job.outputs.begin(), job.outputs.end());
    all.keep.insert(all.keep.end(), job.keep.begin(), job.keep.end());
  }
  all.begin = [jobs](railcclStream_t stream) {
    check(ncclGroupStart(), "group");
    for (const Job& job : *jobs) job.begin(stream);
    check(ncclGroupEnd(), "group");
  };
  all.finish = [jobs] {
    for (const Job& job : *jobs) {
      if (job.finish) job.finish();
    }
  };
  return start(std::move(all));
}

}  // namespace railccl_torch
