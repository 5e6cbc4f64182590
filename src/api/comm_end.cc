// The end of communicators, their errors and what they say about themselves.
#include <fmt/format.h>

#include "src/api/comm_handle.h"
#include "src/api/export.h"
#include "src/api/last_error.h"

namespace railccl {
namespace {

void join_start(ncclComm& comm) {
  const MutexLock guard(comm.starter_mutex);
  if (comm.starter.joinable()) comm.starter.join();
}

// Calls on memory of a GPU end before what they are made of may.
void finish_device_calls(ncclComm& comm) {
  const auto calls = device_calls_so_far(comm);
  if (calls == nullptr) return;
  calls->finish(comm.options.bootstrap.rank_timeout_ns);
  calls->close();
}

Status finalize(ncclComm_t comm) {
  RAILCCL_TRY(check_handle(comm, "ncclCommFinalize"));
  join_start(*comm);
  RAILCCL_TRY(comm->start_status);
  if (comm->finalized.exchange(true)) return Status::ok();
  const std::shared_ptr<Communicator> core = comm->core;  // an abort may free the handle
  finish_device_calls(*comm);
  return core->finalize();
}

Status destroy(ncclComm_t comm) {
  if (comm == nullptr) return Status::ok();
  RAILCCL_TRY(check_handle(comm, "ncclCommDestroy"));
  join_start(*comm);
  const bool unfinished = comm->core != nullptr && !comm->finalized.exchange(true);
  // The error that ended the communicator was reported by the operation that it hit.
  if (unfinished) {
    finish_device_calls(*comm);
    static_cast<void>(comm->core->finalize());
  }
  comm->magic.store(0);
  delete comm;
  return Status::ok();
}

Status abort(ncclComm_t comm) {
  if (comm == nullptr) return Status::ok();
  RAILCCL_TRY(check_handle(comm, "ncclCommAbort"));
  comm->give_up.store(true);
  join_start(*comm);
  if (comm->core != nullptr) comm->core->abort();
  if (const auto calls = device_calls_so_far(*comm)) calls->close();
  comm->magic.store(0);
  delete comm;
  return Status::ok();
}

Status revoke(ncclComm_t comm, int flags) {
  constexpr std::string_view kFunction = "ncclCommRevoke";
  if (flags != NCCL_REVOKE_DEFAULT) {
    return error(Code::kInvalidArgument, "argument revokeFlags of {} is {}", kFunction, flags);
  }
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core, started_core_of(comm, kFunction));
  if (!core->registered()) return was_finalized(kFunction);
  core->fail(Status(Code::kAborted, fmt::format("rank {} called ncclCommRevoke", core->rank())));
  return Status::ok();
}

Status async_error(ncclComm_t comm, ncclResult_t* result) {
  constexpr std::string_view kFunction = "ncclCommGetAsyncError";
  RAILCCL_TRY(check_handle(comm, kFunction));
  if (result == nullptr) {
    return error(Code::kInvalidArgument, "argument asyncError of {} is NULL", kFunction);
  }
  if (!comm->started.load(std::memory_order_acquire)) {
    *result = ncclInProgress;
    return Status::ok();
  }
  const Status status = comm->start_status ? comm->core->error() : comm->start_status;
  *result = status ? ncclSuccess : report(status);
  return Status::ok();
}

template <class Member>
Status query(const ncclComm* comm, int* value, Member ncclComm::*member, std::string_view name,
             std::string_view function) {
  RAILCCL_TRY(check_handle(comm, function));
  if (value == nullptr) {
    return error(Code::kInvalidArgument, "argument {} of {} is NULL", name, function);
  }
  *value = comm->*member;
  return Status::ok();
}

}  // namespace
}  // namespace railccl

RAILCCL_API(ncclResult_t, CommFinalize, (ncclComm_t comm)) {
  return railccl::report(railccl::finalize(comm));
}

RAILCCL_API(ncclResult_t, CommDestroy, (ncclComm_t comm)) {
  return railccl::report(railccl::destroy(comm));
}

RAILCCL_API(ncclResult_t, CommAbort, (ncclComm_t comm)) {
  return railccl::report(railccl::abort(comm));
}

RAILCCL_API(ncclResult_t, CommRevoke, (ncclComm_t comm, int revokeFlags)) {
  return railccl::report(railccl::revoke(comm, revokeFlags));
}

RAILCCL_API(ncclResult_t, CommGetAsyncError, (ncclComm_t comm, ncclResult_t* asyncError)) {
  return railccl::report(railccl::async_error(comm, asyncError));
}

RAILCCL_API(ncclResult_t, CommCount, (const ncclComm_t comm, int* count)) {
  return railccl::report(railccl::query(comm, count, &ncclComm::ranks, "count", "ncclCommCount"));
}

RAILCCL_API(ncclResult_t, CommCuDevice, (const ncclComm_t comm, int* device)) {
  return railccl::report(
      railccl::query(comm, device, &ncclComm::device, "device", "ncclCommCuDevice"));
}

RAILCCL_API(ncclResult_t, CommUserRank, (const ncclComm_t comm, int* rank)) {
  return railccl::report(railccl::query(comm, rank, &ncclComm::rank, "rank", "ncclCommUserRank"));
}

RAILCCL_API(ncclResult_t, GetVersion, (int* version)) {
  if (version == nullptr) {
    return railccl::report(railccl::error(railccl::Code::kInvalidArgument,
                                          "argument version of ncclGetVersion is NULL"));
  }
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

RAILCCL_API(void, ResetDebugInit, (void)) {}
