// What an ncclComm_t points to: the communicator, once its start has ended, and what only the C API
// knows of it. Any thread.
#pragma once

#include <atomic>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "include/railccl/nccl.h"
#include "src/base/mutex.h"
#include "src/base/status.h"
#include "src/core/comm_start.h"
#include "src/core/communicator.h"
#include "src/core/device_calls.h"

// In the global namespace, because the C header declares it there.
struct ncclComm {
  static constexpr uint64_t kMagic = 0x5261696c43434c31;  // "RailCCL1"

  // Alive only between the start and ncclCommDestroy or ncclCommAbort.
  std::atomic<uint64_t> magic{kMagic};
  // Written by the start, read after `started` is true.
  std::shared_ptr<railccl::Communicator> core;
  railccl::Status start_status;
  std::atomic<bool> started{false};
  std::atomic<bool> give_up{false};  // ends a start that is under way
  railccl::Mutex starter_mutex;
  std::thread starter RAILCCL_GUARDED_BY(starter_mutex);
  bool blocking = true;
  std::atomic<bool> finalized{false};
  int rank = 0;
  int ranks = 1;
  std::atomic<int> device{0};
  railccl::CommOptions options;  // for children

  // From the first call on memory of a GPU on; looked at without the mutex whether there are any.
  std::atomic<bool> works_on_device{false};
  railccl::Mutex device_mutex;
  std::shared_ptr<railccl::DeviceCalls> device_calls RAILCCL_GUARDED_BY(device_mutex);

  // Operators made by ncclRedOpCreatePreMulSum: number = ncclNumOps + index.
  struct PreMulSum {
    bool alive = false;
    railccl::DataType type = railccl::DataType::kFloat32;
    std::array<std::byte, 8> scalar{};
    const std::byte* on_device = nullptr;  // not null: there instead
  };
  railccl::Mutex operators_mutex;
  std::vector<PreMulSum> operators RAILCCL_GUARDED_BY(operators_mutex);
};

namespace railccl {

// The communicator behind the handle; errors: NULL, not a communicator (any more), still starting,
// failed to start, finalized. Shared, because another thread may abort it and free the handle
// meanwhile.
Result<std::shared_ptr<Communicator>> core_of(ncclComm_t comm, std::string_view function);
// Likewise, also while it is being finalized or was.
Result<std::shared_ptr<Communicator>> started_core_of(ncclComm_t comm, std::string_view function);
Error was_finalized(std::string_view function);
// Of a GPU communicator; made at its first call on memory of a GPU, which is that of `memory`. An
// error: the GPU cannot be served, or is another one than before.
Result<std::shared_ptr<DeviceCalls>> device_calls_of(ncclComm& comm,
                                                     const std::shared_ptr<Communicator>& core,
                                                     const void* memory);
// What has been made; null: nothing.
std::shared_ptr<DeviceCalls> device_calls_so_far(ncclComm& comm);
// Only whether the handle itself is one.
Status check_handle(const ncclComm* comm, std::string_view function);

}  // namespace railccl
