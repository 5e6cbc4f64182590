#include "src/api/comm_init.h"

#include <fmt/format.h>

#include <cstring>

#include "include/railccl/railccl.h"
#include "src/api/comm_handle.h"
#include "src/api/export.h"
#include "src/api/group.h"
#include "src/api/last_error.h"
#include "src/base/log.h"
#include "src/base/setting.h"
#include "src/core/launch_meeting.h"
#include "src/core/runtime.h"
#include "src/core/wiring.h"

namespace railccl {
namespace {

Status start(ncclComm& comm, const CommRequest& request) {
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  RAILCCL_ASSIGN(std::vector<UniqueIdBytes> ids, request.ids());
  const CommStart begin{.ids = std::move(ids),
                        .rank = request.rank,
                        .ranks = request.ranks,
                        .options = request.options,
                        .engine = runtime->engine(),
                        .name = request.config.comm_name,
                        .outputs = runtime->outputs(),
                        .device = request.gpu};
  auto core = start_communicator(begin, comm.give_up);
  if (!core) return core.error();
  comm.core = std::move(*core);
  return Status::ok();
}

Status check_rails(std::span<Rail* const> rails, TransportKind only, std::string_view function) {
  std::string present;
  for (const Rail* rail : rails) {
    if (rail->info().transport == only) return Status::ok();
    present += fmt::format("{}{} ({})", present.empty() ? "" : ", ", rail->info().name,
                           transport_name(rail->info().transport));
  }
  return error(Code::kInvalidUsage,
               "field netName of the config given to {} asks for {} rails; this process has: {}",
               function, transport_name(only), present.empty() ? "none" : present);
}

Status check_request(const ncclComm_t* comm, const CommRequest& request) {
  if (comm == nullptr) {
    return error(Code::kInvalidArgument, "argument comm of {} is NULL", request.function);
  }
  if (request.ranks < 1) {
    return error(Code::kInvalidArgument, "argument nranks of {} is {}, it must be at least 1",
                 request.function, request.ranks);
  }
  if (request.rank < 0 || request.rank >= request.ranks) {
    return error(Code::kInvalidArgument,
                 "argument rank of {} is {}, with {} ranks it must be 0 to {}", request.function,
                 request.rank, request.ranks, request.ranks - 1);
  }
  return Status::ok();
}

// What config and environment say together; a child begins with what its parent has.
Status apply_config(CommRequest& request) {
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  if (runtime->settings().is_set(Setting::kCommBlocking)) {
    request.config.blocking = runtime->settings().get_bool(Setting::kCommBlocking);
  }
  CommOptions& options = request.options;
  if (request.config.only) {
    options.only = request.config.only;
    RAILCCL_TRY(check_rails(runtime->engine()->rails(), *options.only, request.function));
  }
  const ChannelBounds& wanted = request.config.channels;
  if (wanted.min == 0 && wanted.max == 0 && !request.config.only) return Status::ok();
  return bound_channels(options, wanted);
}

void finish_start(ncclComm& comm, const Status& status) {
  comm.start_status = status;
  comm.started.store(true, std::memory_order_release);
}

}  // namespace

std::shared_ptr<Device> chosen_gpu(const CommOptions& options) {
  const auto runtime = Runtime::get();
  if (!runtime || !find_gpu_driver()) return nullptr;
  const DeviceChoice choice = (*runtime)->settings().get_choice<DeviceChoice>(Setting::kDevice);
  if (choice == DeviceChoice::kHost || !has_chosen_gpu()) return nullptr;
  auto device = open_device(nullptr, options.device);
  if (device) return *device;
  RAILCCL_WARN(Subsys::kInit, "calls on memory of the GPU will not work: {}",
               device.error().message());
  return nullptr;
}

BootstrapOptions bootstrap_options() {
  const auto runtime = Runtime::get();
  return runtime ? (*runtime)->comm_options().bootstrap : BootstrapOptions{};
}

Status create_comm(ncclComm_t* comm, CommRequest request) {
  RAILCCL_TRY(check_request(comm, request));
  RAILCCL_TRY(apply_config(request));
  if (request.gpu == nullptr) request.gpu = chosen_gpu(request.options);
  if (request.gpu != nullptr) request.device = request.gpu->ordinal();
  *comm = nullptr;
  auto made = std::make_unique<ncclComm>();
  made->rank = request.rank;
  made->ranks = request.ranks;
  made->device = request.device;
  made->blocking = request.config.blocking;
  made->options = request.options;
  ncclComm* const raw = made.release();
  *comm = raw;
  if (!raw->blocking) {
    const MutexLock guard(raw->starter_mutex);
    raw->starter = std::thread([raw, request = std::move(request)] {
      const Status status = start(*raw, request);
      if (!status) static_cast<void>(report(status));
      finish_start(*raw, status);
    });
    return Status::ok();
  }
  return enqueue_start([raw, comm, request = std::move(request)] {
    const Status status = start(*raw, request);
    finish_start(*raw, status);
    if (status) return status;
    // Nobody can have used it: the call that makes it fails.
    *comm = nullptr;
    delete raw;
    return status;
  });
}

namespace {

UniqueIdBytes bytes_of(const ncclUniqueId& id) {
  UniqueIdBytes bytes;
  static_assert(sizeof id == sizeof bytes);
  std::memcpy(bytes.data(), id.internal, sizeof bytes);
  return bytes;
}

Status get_unique_id(ncclUniqueId* id) {
  if (id == nullptr) {
    return error(Code::kInvalidArgument, "argument uniqueId of ncclGetUniqueId is NULL");
  }
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  RAILCCL_ASSIGN(const UniqueIdBytes bytes,
                 create_unique_id(runtime->comm_options().bootstrap,
                                  runtime->settings().get_text(Setting::kCommId)));
  std::memcpy(id->internal, bytes.data(), bytes.size());
  return Status::ok();
}

Status init_ranks(ncclComm_t* comm, int ranks, const std::vector<UniqueIdBytes>& ids, int rank,
                  const ncclConfig_t* config, std::string_view function,
                  std::shared_ptr<Device> gpu = nullptr, int device = 0) {
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  CommRequest request{.function = std::string(function),
                      .ids = [ids] { return Result<std::vector<UniqueIdBytes>>(ids); },
                      .rank = rank,
                      .ranks = ranks,
                      .device = device,
                      .gpu = std::move(gpu),
                      .config = {},
                      .options = runtime->comm_options()};
  RAILCCL_ASSIGN(request.config, parse_config(config, function));
  return create_comm(comm, std::move(request));
}

// ncclCommInitAll's rank works on the GPU of its number, or of that on the list. Null where the
// thread has chosen none: then the ranks work on the host.
Result<std::shared_ptr<Device>> gpu_of_rank(int rank, const int* list) {
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  const CommOptions& options = runtime->comm_options();
  const std::shared_ptr<Device> chosen = chosen_gpu(options);
  if (chosen == nullptr) return chosen;
  const auto device = open_device(list != nullptr ? list[rank] : rank, options.device);
  if (!device && list == nullptr) return chosen;  // more ranks than GPUs: they share one
  return device;
}

Status init_all(ncclComm_t* comms, int count, const int* list) {
  if (comms == nullptr) {
    return error(Code::kInvalidArgument, "argument comm of ncclCommInitAll is NULL");
  }
  if (count < 1) {
    return error(Code::kInvalidArgument,
                 "argument ndev of ncclCommInitAll is {}, it must be at least 1", count);
  }
  ncclUniqueId id;
  RAILCCL_TRY(get_unique_id(&id));
  pncclGroupStart();
  for (int rank = 0; rank < count; ++rank) {
    const auto gpu = gpu_of_rank(rank, list);
    const Status status = gpu ? init_ranks(&comms[rank], count, {bytes_of(id)}, rank, nullptr,
                                           "ncclCommInitAll", *gpu, rank)
                              : gpu.error();
    if (!status) fail_group(status);
  }
  return end_group();
}

Result<std::vector<UniqueIdBytes>> meet(const LaunchEnv& launch, const BootstrapOptions& options) {
  RAILCCL_ASSIGN(const UniqueIdBytes id, launch_unique_id(launch, options));
  return std::vector<UniqueIdBytes>{id};
}

Status init_from_environment(ncclComm_t* comm) {
  static std::atomic<int> instances{0};
  constexpr std::string_view kFunction = "railcclCommInitFromEnv";
  RAILCCL_ASSIGN(Runtime* const runtime, Runtime::get());
  RAILCCL_ASSIGN(const LaunchEnv launch,
                 read_own_launch_env(runtime->settings(), instances.fetch_add(1)));
  BootstrapOptions bootstrap = runtime->comm_options().bootstrap;
  bootstrap.ranks = launch.ranks;
  return create_comm(comm, {.function = std::string(kFunction),
                            .ids = [launch, bootstrap] { return meet(launch, bootstrap); },
                            .rank = launch.rank,
                            .ranks = launch.ranks,
                            .device = std::max(launch.local_rank, 0),
                            .config = {},
                            .options = runtime->comm_options()});
}

ncclResult_t begun(const Status& status, const ncclComm_t* comm) {
  if (!status) return answer(status);
  if (!in_group() && comm != nullptr && *comm != nullptr && !(*comm)->blocking)
    return ncclInProgress;
  return ncclSuccess;
}

}  // namespace
}  // namespace railccl

using railccl::begun;

RAILCCL_API(ncclResult_t, GetUniqueId, (ncclUniqueId * uniqueId)) {
  return railccl::report(railccl::get_unique_id(uniqueId));
}

RAILCCL_API(ncclResult_t, CommInitRank,
            (ncclComm_t * comm, int nranks, ncclUniqueId commId, int rank)) {
  return begun(railccl::init_ranks(comm, nranks, {railccl::bytes_of(commId)}, rank, nullptr,
                                   "ncclCommInitRank"),
               comm);
}

RAILCCL_API(ncclResult_t, CommInitRankConfig,
            (ncclComm_t * comm, int nranks, ncclUniqueId commId, int rank, ncclConfig_t* config)) {
  return begun(railccl::init_ranks(comm, nranks, {railccl::bytes_of(commId)}, rank, config,
                                   "ncclCommInitRankConfig"),
               comm);
}

RAILCCL_API(ncclResult_t, CommInitRankScalable,
            (ncclComm_t * newcomm, int nranks, int myrank, int nId, ncclUniqueId* commIds,
             ncclConfig_t* config)) {
  constexpr std::string_view kFunction = "ncclCommInitRankScalable";
  if (commIds == nullptr) {
    return railccl::report(railccl::error(railccl::Code::kInvalidArgument,
                                          "argument commIds of {} is NULL", kFunction));
  }
  if (nId < 1 || nId > nranks) {
    return railccl::report(railccl::error(railccl::Code::kInvalidArgument,
                                          "argument nId of {} is {}, with {} ranks it must be 1 to "
                                          "{}",
                                          kFunction, nId, nranks, nranks));
  }
  std::vector<railccl::UniqueIdBytes> ids;
  for (int i = 0; i < nId; ++i) ids.push_back(railccl::bytes_of(commIds[i]));
  return begun(railccl::init_ranks(newcomm, nranks, ids, myrank, config, kFunction), newcomm);
}

RAILCCL_API(ncclResult_t, CommInitAll, (ncclComm_t * comm, int ndev, const int* devlist)) {
  return railccl::report(railccl::init_all(comm, ndev, devlist));
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclCommInitFromEnv(ncclComm_t* comm) {
  return begun(railccl::init_from_environment(comm), comm);
}
