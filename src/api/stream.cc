#include "src/api/stream.h"

#include "src/api/export.h"
#include "src/api/last_error.h"
#include "src/core/runtime.h"

namespace railccl {

bool HostStream::is_one(cudaStream_t stream) {
  // CUDA's own handles for its default streams are 1 and 2.
  return reinterpret_cast<uintptr_t>(stream) > 2 &&
         reinterpret_cast<const HostStream*>(stream)->magic_ == kMagic;
}

Result<HostStream*> HostStream::from(cudaStream_t stream, std::string_view function) {
  if (stream == nullptr) return nullptr;
  if (!is_one(stream)) {
    return error(
        Code::kInvalidUsage,
        "argument stream of {} is not a stream of railcclStreamCreate; calls on memory of the host "
        "take those, or NULL",
        function);
  }
  return reinterpret_cast<HostStream*>(stream);
}

void HostStream::append(const std::shared_ptr<Operation>& operation) {
  collect();
  if (!operations_.empty() && operations_.back() != operation) {
    operation->after.push_back(operations_.back());
  }
  operations_.push_back(operation);
}

void HostStream::collect() {
  while (!operations_.empty() && operations_.front()->completion.done()) {
    if (first_error_.is_ok()) first_error_ = operations_.front()->completion.status();
    operations_.pop_front();
  }
}

Status HostStream::wait(TimeNs timeout) {
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  const TimeNs deadline = timeout == kNever ? kNever : system_clock().now_ns() + timeout;
  collect();
  while (!operations_.empty()) {
    if (system_clock().now_ns() >= deadline) return Status(Code::kBackPressure, "still running");
    // Where cores are few spinning gives them away, too (YieldDelay).
    runtime->engine()->wait(operations_.front()->completion,
                            caller_spin_ns(runtime->comm_options(), false), deadline);
    collect();
  }
  return first_error_;
}

Status HostStream::query() {
  collect();
  if (operations_.empty()) return first_error_;
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  runtime->engine()->drive_briefly();
  collect();
  return operations_.empty() ? first_error_ : Status(Code::kBackPressure, "still running");
}

}  // namespace railccl

using railccl::HostStream;

extern "C" RAILCCL_EXPORTED ncclResult_t railcclStreamCreate(railcclStream_t* stream) {
  if (stream == nullptr) {
    return railccl::report(railccl::error(railccl::Code::kInvalidArgument,
                                          "argument stream of railcclStreamCreate is NULL"));
  }
  *stream = reinterpret_cast<railcclStream_t>(new HostStream);
  return ncclSuccess;
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclStreamSynchronize(railcclStream_t stream) {
  const auto host = HostStream::from(stream, "railcclStreamSynchronize");
  if (!host) return railccl::report(host.error());
  return *host == nullptr ? ncclSuccess : railccl::report((*host)->wait(railccl::kNever));
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclStreamWait(railcclStream_t stream,
                                                           unsigned timeout_ms) {
  const auto host = HostStream::from(stream, "railcclStreamWait");
  if (!host) return railccl::report(host.error());
  if (*host == nullptr) return ncclSuccess;
  const railccl::Status status = (*host)->wait(timeout_ms * railccl::kMillisecond);
  return status.code() == railccl::Code::kBackPressure ? ncclInProgress : railccl::report(status);
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclStreamQuery(railcclStream_t stream) {
  const auto host = HostStream::from(stream, "railcclStreamQuery");
  if (!host) return railccl::report(host.error());
  if (*host == nullptr) return ncclSuccess;
  const railccl::Status status = (*host)->query();
  return status.code() == railccl::Code::kBackPressure ? ncclInProgress : railccl::report(status);
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclStreamDestroy(railcclStream_t stream) {
  const auto host = HostStream::from(stream, "railcclStreamDestroy");
  if (!host) return railccl::report(host.error());
  if (*host == nullptr) return ncclSuccess;
  const std::unique_ptr<HostStream> owned(*host);
  return railccl::report(owned->wait(railccl::kNever));
}
