#include "src/api/comm_handle.h"

#include "src/core/runtime.h"
#include "src/core/wiring.h"

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

Result<std::shared_ptr<Communicator>> started_core_of(ncclComm_t comm, std::string_view function) {
  RAILCCL_TRY(check_handle(comm, function));
  if (!comm->started.load(std::memory_order_acquire)) {
    return error(
        Code::kInvalidUsage,
        "{}: the communicator is still starting; poll ncclCommGetAsyncError until it is no "
        "longer ncclInProgress",
        function);
  }
  RAILCCL_TRY(comm->start_status);
  return comm->core;
}

Result<std::shared_ptr<Communicator>> core_of(ncclComm_t comm, std::string_view function) {
  RAILCCL_ASSIGN(std::shared_ptr<Communicator> core, started_core_of(comm, function));
  if (comm->finalized.load(std::memory_order_relaxed)) return was_finalized(function);
  return core;
}

Error was_finalized(std::string_view function) {
  return error(Code::kInvalidUsage, "{}: the communicator was finalized", function);
}

Result<std::shared_ptr<DeviceCalls>> device_calls_of(ncclComm& comm,
                                                     const std::shared_ptr<Communicator>& core,
                                                     const void* memory) {
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  RAILCCL_ASSIGN(std::shared_ptr<Device> device, open_device(memory, comm.options.device));
  const MutexLock guard(comm.device_mutex);
  if (comm.device_calls == nullptr) {
    RAILCCL_ASSIGN(comm.device_calls, DeviceCalls::create(core, runtime->engine(), device,
                                                          comm.options.staging_bytes));
    comm.device = device->ordinal();
    comm.works_on_device.store(true, std::memory_order_release);
  }
  if (&comm.device_calls->device() != device.get()) {
    return error(
        Code::kInvalidUsage,
        "the communicator works on GPU {} since its first call; this call's memory is of GPU {}",
        comm.device_calls->device().ordinal(), device->ordinal());
  }
  return comm.device_calls;
}

std::shared_ptr<DeviceCalls> device_calls_so_far(ncclComm& comm) {
  if (!comm.works_on_device.load(std::memory_order_acquire)) return nullptr;
  const MutexLock guard(comm.device_mutex);
  return comm.device_calls;
}

}  // namespace railccl
