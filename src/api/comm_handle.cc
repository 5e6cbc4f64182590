#include "src/api/comm_handle.h"

namespace railccl {

Status check_handle(const ncclComm* comm, std::string_view function) {
  if (comm == nullptr) {
    return error(Code::kInvalidArgument, "argument comm of {} is NULL", function);
  }
  if (comm->magic.load(std::memory_order_relaxed) != ncclComm::kMagic) {
    return error(Code::kInvalidArgument,
                 "argument comm of {} is not a communicator, or it was destroyed", function);
  }
  return Status::ok();
}

Result<std::shared_ptr<Communicator>> core_of(ncclComm_t comm, std::string_view function) {
  RAILCCL_TRY(check_handle(comm, function));
  if (!comm->started.load(std::memory_order_acquire)) {
    return error(
        Code::kInvalidUsage,
        "{}: the communicator is still starting; poll ncclCommGetAsyncError until it is no "
        "longer ncclInProgress",
        function);
  }
  RAILCCL_TRY(comm->start_status);
  if (comm->finalized.load(std::memory_order_relaxed)) {
    return error(Code::kInvalidUsage, "{}: the communicator was finalized", function);
  }
  return comm->core;
}

}  // namespace railccl
