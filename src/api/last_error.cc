#include "src/api/last_error.h"

#include <string>

#include "src/api/export.h"
#include "src/base/log.h"
#include "src/base/mutex.h"

namespace railccl {
namespace {

Mutex process_mutex;
std::string& process_error() RAILCCL_REQUIRES(process_mutex) {
  static auto* const text = new std::string;
  return *text;
}

thread_local std::string thread_error;

}  // namespace

ncclResult_t result_of(Code code) {
  switch (code) {
    case Code::kOk:
      return ncclSuccess;
    case Code::kInvalidArgument:
      return ncclInvalidArgument;
    case Code::kInvalidUsage:
    case Code::kMismatch:
      return ncclInvalidUsage;
    case Code::kSystemError:
      return ncclSystemError;
    case Code::kInternalError:
      return ncclInternalError;
    case Code::kBackPressure:
      return ncclInProgress;
    case Code::kRailFailed:
    case Code::kPeerFailed:
    case Code::kTimeout:
    case Code::kAborted:
      return ncclRemoteError;
    case Code::kDeviceError:
      return ncclUnhandledCudaError;
  }
  return ncclInternalError;
}

ncclResult_t report(const Status& status) {
  if (status) return ncclSuccess;
  thread_error = status.message();
  {
    const MutexLock guard(process_mutex);
    process_error() = thread_error;
  }
  RAILCCL_INFO(Subsys::kCall, "{}: {}", code_name(status.code()), status.message());
  return result_of(status.code());
}

const char* last_error() {
  if (thread_error.empty()) {
    const MutexLock guard(process_mutex);
    thread_error = process_error();
  }
  return thread_error.c_str();
}

}  // namespace railccl

RAILCCL_API(const char*, GetLastError, (ncclComm_t /*comm*/)) { return railccl::last_error(); }

RAILCCL_API(const char*, GetErrorString, (ncclResult_t result)) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled CUDA error";
    case ncclSystemError:
      return "system error (ncclGetLastError tells more)";
    case ncclInternalError:
      return "internal error (ncclGetLastError tells more)";
    case ncclInvalidArgument:
      return "invalid argument (ncclGetLastError names it)";
    case ncclInvalidUsage:
      return "invalid usage (ncclGetLastError tells more)";
    case ncclRemoteError:
      return "a peer failed or left (ncclGetLastError names it)";
    case ncclInProgress:
      return "operation in progress";
    case ncclNumResults:
      break;
  }
  return "unknown result code";
}
