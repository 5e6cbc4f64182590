// Memory of the C API: library memory that local ranks reach directly, and registration with the
// rails.
#include <cstdint>

#include "src/api/buffer.h"
#include "src/api/comm_handle.h"
#include "src/api/export.h"
#include "src/api/last_error.h"
#include "src/base/setting.h"
#include "src/core/local_domain.h"
#include "src/core/runtime.h"
#include "src/core/wiring.h"

namespace railccl {
namespace {

Result<bool> is_host_only() {
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  return runtime->settings().get_choice<DeviceChoice>(Setting::kDevice) == DeviceChoice::kHost;
}

Status allocate(void** pointer, size_t size) {
  if (pointer == nullptr) {
    return error(Code::kInvalidArgument, "argument ptr of ncclMemAlloc is NULL");
  }
  *pointer = nullptr;
  if (size == 0) return Status::ok();
  RAILCCL_ASSIGN(const bool host_only, is_host_only());
  if (!host_only && find_gpu_driver()) {
    RAILCCL_ASSIGN(*pointer, allocate_on_device(size));
  }
  if (*pointer != nullptr) return Status::ok();
  RAILCCL_ASSIGN(*pointer, shared_heap_allocate(size));
  return Status::ok();
}

Status release(void* pointer) {
  return is_device_memory(pointer) ? free_on_device(pointer) : shared_heap_free(pointer);
}

Status register_range(const ncclComm* comm, void* buffer, size_t size, std::string_view function) {
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core,
                 core_of(const_cast<ncclComm_t>(comm), function));
  if (buffer == nullptr) {
    return error(Code::kInvalidArgument, "argument buff of {} is NULL", function);
  }
  if (size == 0)
    return error(Code::kInvalidArgument, "argument size of {} is 0, it must be at least 1",
                 function);
  // Memory of a GPU goes through pinned memory that is registered already.
  if (is_device_memory(buffer)) return Status::ok();
  return core->register_memory(static_cast<const std::byte*>(buffer), size);
}

// Handles and windows are the address itself: registrations of a range are found by it.
Status deregister(const ncclComm* comm, const void* address, std::string_view function) {
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core,
                 core_of(const_cast<ncclComm_t>(comm), function));
  if (address != nullptr) core->deregister_memory(static_cast<const std::byte*>(address));
  return Status::ok();
}

Status open_window(ncclComm_t comm, void* buffer, size_t size, ncclWindow_t* window, int flags) {
  constexpr std::string_view kFunction = "ncclCommWindowRegister";
  if (window == nullptr)
    return error(Code::kInvalidArgument, "argument win of {} is NULL", kFunction);
  if (flags != NCCL_WIN_DEFAULT && flags != NCCL_WIN_COLL_SYMMETRIC) {
    return error(Code::kInvalidArgument,
                 "argument winFlags of {} is {:#x}, allowed are NCCL_WIN_DEFAULT ({:#x}) and "
                 "NCCL_WIN_COLL_SYMMETRIC ({:#x})",
                 kFunction, flags, NCCL_WIN_DEFAULT, NCCL_WIN_COLL_SYMMETRIC);
  }
  if (reinterpret_cast<uintptr_t>(buffer) % NCCL_WIN_REQUIRED_ALIGNMENT != 0) {
    return error(Code::kInvalidArgument, "argument buff of {} is not aligned to {} bytes",
                 kFunction, NCCL_WIN_REQUIRED_ALIGNMENT);
  }
  RAILCCL_TRY(register_range(comm, buffer, size, kFunction));
  *window = reinterpret_cast<ncclWindow_t>(buffer);
  return Status::ok();
}

}  // namespace
}  // namespace railccl

RAILCCL_API(ncclResult_t, MemAlloc, (void** ptr, size_t size)) {
  return railccl::report(railccl::allocate(ptr, size));
}

RAILCCL_API(ncclResult_t, MemFree, (void* ptr)) { return railccl::report(railccl::release(ptr)); }

RAILCCL_API(ncclResult_t, CommRegister,
            (const ncclComm_t comm, void* buff, size_t size, void** handle)) {
  if (handle == nullptr) {
    return railccl::report(railccl::error(railccl::Code::kInvalidArgument,
                                          "argument handle of ncclCommRegister is NULL"));
  }
  const railccl::Status status = railccl::register_range(comm, buff, size, "ncclCommRegister");
  *handle = status ? buff : nullptr;
  return railccl::report(status);
}

RAILCCL_API(ncclResult_t, CommDeregister, (const ncclComm_t comm, void* handle)) {
  return railccl::report(railccl::deregister(comm, handle, "ncclCommDeregister"));
}

RAILCCL_API(ncclResult_t, CommWindowRegister,
            (ncclComm_t comm, void* buff, size_t size, ncclWindow_t* win, int flags)) {
  return railccl::report(railccl::open_window(comm, buff, size, win, flags));
}

RAILCCL_API(ncclResult_t, CommWindowDeregister, (ncclComm_t comm, ncclWindow_t win)) {
  return railccl::report(railccl::deregister(comm, win, "ncclCommWindowDeregister"));
}
