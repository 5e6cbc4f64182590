#include "transport/verbs/verbs_device.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace railccl::verbs {
namespace {

constexpr uint32_t kQueueEntries = 8192;

Status set_nonblocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    return system_error(errno, "fcntl of a verbs descriptor");
  }
  return Status::ok();
}

std::string lock_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "no limit";
  return fmt::format("{} KiB", limit.rlim_cur / 1024);
}

}  // namespace

Result<Context> open_context(const VerbsApi& api, const std::string& device) {
  int count = 0;
  ibv_device** list = api.get_device_list(&count);
  if (list == nullptr) return system_error(errno, "ibv_get_device_list");
  Context context;
  bool found = false;
  int problem = 0;
  std::string node;
  for (int i = 0; i < count; ++i) {
    if (device != api.get_device_name(list[i])) continue;
    found = true;
    node = fmt::format("/dev/infiniband/{}", list[i]->dev_name);
    errno = 0;
    context = own(api.open_device(list[i]), api.close_device);
    problem = errno;
  }
  api.free_device_list(list);
  if (context) return context;
  if (!found) return error(Code::kRailFailed, "RDMA device {} is gone", device);
  // libibverbs looks for the device in other places afterwards, and says that it is not there.
  if (problem == ENOENT && access(node.c_str(), R_OK | W_OK) != 0) problem = errno;
  if (problem == EACCES || problem == EPERM) {
    return error(Code::kSystemError, "RDMA device {} may not be opened: no permission on {}",
                 device, node);
  }
  if (problem == ENOENT) {
    return error(Code::kSystemError,
                 "RDMA device {} cannot be opened: there is no {}; a container has to be given it",
                 device, node);
  }
  return system_error(problem, fmt::format("ibv_open_device {}", device));
}

Result<std::unique_ptr<VerbsDevice>> VerbsDevice::open(const VerbsApi& api,
                                                       const std::string& device, uint8_t port) {
  std::unique_ptr<VerbsDevice> opened(new VerbsDevice(api, port));
  RAILCCL_ASSIGN(opened->context_, open_context(api, device));
  ibv_context* context = opened->context();
  if (const int problem = api.query_device(context, &opened->attributes_); problem != 0) {
    return system_error(problem, fmt::format("ibv_query_device {}", device));
  }
  opened->pd_ = own(api.alloc_pd(context), api.dealloc_pd);
  if (!opened->pd_) return system_error(errno, fmt::format("ibv_alloc_pd {}", device));
  opened->channel_ = own(api.create_comp_channel(context), api.destroy_comp_channel);
  if (!opened->channel_) {
    return system_error(errno, fmt::format("ibv_create_comp_channel {}", device));
  }
  RAILCCL_TRY(set_nonblocking(opened->channel_->fd));
  RAILCCL_TRY(set_nonblocking(context->async_fd));
  return opened;
}

Result<ibv_port_attr> VerbsDevice::query_port() const {
  ibv_port_attr attributes{};
  auto* known = reinterpret_cast<_compat_ibv_port_attr*>(&attributes);
  if (const int problem = api_.query_port(context(), port_, known); problem != 0) {
    return system_error(problem, "ibv_query_port");
  }
  return attributes;
}

bool VerbsDevice::takes_dmabuf() const {
  if (api_.reg_dmabuf_mr == nullptr) return false;
  constexpr int kNoFile = -1;
  errno = 0;
  const MemoryHandle memory =
      own(api_.reg_dmabuf_mr(pd(), 0, 0, 0, kNoFile, IBV_ACCESS_LOCAL_WRITE), api_.dereg_mr);
  return errno == EBADF;  // it was the file that was refused, not the call
}

Result<std::vector<GidEntry>> VerbsDevice::query_gids() const {
  constexpr size_t kMost = 1024;
  std::vector<ibv_gid_entry> table(kMost);
  const ssize_t count =
      api_.query_gid_table(context(), table.data(), kMost, 0, sizeof(ibv_gid_entry));
  if (count < 0) return system_error(static_cast<int>(-count), "ibv_query_gid_table");
  std::vector<GidEntry> gids;
  for (const ibv_gid_entry& one : std::span(table).first(static_cast<size_t>(count))) {
    if (one.port_num != port_) continue;
    GidEntry entry{.index = one.gid_index};
    std::memcpy(entry.gid.data(), one.gid.raw, entry.gid.size());
    entry.type = one.gid_type == IBV_GID_TYPE_IB        ? GidType::kInfiniband
                 : one.gid_type == IBV_GID_TYPE_ROCE_V1 ? GidType::kRoceV1
                                                        : GidType::kRoceV2;
    gids.push_back(entry);
  }
  return gids;
}

Result<CompletionQueue*> VerbsDevice::reserve(uint32_t completions) {
  for (const auto& queue : queues_) {
    if (queue->capacity - queue->reserved < completions) continue;
    queue->reserved += completions;
    return queue.get();
  }
  const auto most = static_cast<uint32_t>(std::max(attributes_.max_cqe, 1));
  auto queue = std::make_unique<CompletionQueue>();
  queue->capacity = std::min(most, std::max(kQueueEntries, completions));
  if (queue->capacity < completions) {
    return error(Code::kSystemError,
                 "a completion queue of the device has {} entries, {} are needed", most,
                 completions);
  }
  queue->handle =
      own(api_.create_cq(context(), static_cast<int>(queue->capacity), queue.get(), channel(), 0),
          api_.destroy_cq);
  if (!queue->handle) {
    return system_error(errno, fmt::format("ibv_create_cq with {} entries", queue->capacity));
  }
  queue->reserved = completions;
  queues_.push_back(std::move(queue));
  return queues_.back().get();
}

uint64_t first_address(const MemoryRegion& region) {
  static const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = region.kind == MemoryKind::kDmabuf
                             ? region.dmabuf_offset
                             : reinterpret_cast<uintptr_t>(region.address);
  return begin % page;
}

Result<MemoryHandle> VerbsDevice::register_memory(const MemoryRegion& region,
                                                  unsigned access) const {
  const uint64_t iova = first_address(region);
  if (region.kind == MemoryKind::kDmabuf) {
    if (api_.reg_dmabuf_mr == nullptr) {
      return error(Code::kSystemError, "libibverbs is too old for memory given as dma-buf");
    }
    MemoryHandle memory = own(api_.reg_dmabuf_mr(pd(), region.dmabuf_offset, region.bytes, iova,
                                                 region.dmabuf_fd, static_cast<int>(access)),
                              api_.dereg_mr);
    if (!memory) return system_error(errno, "ibv_reg_dmabuf_mr");
    return memory;
  }
  MemoryHandle memory =
      own(api_.reg_mr_iova2(pd(), region.address, region.bytes, iova, access), api_.dereg_mr);
  if (memory) return memory;
  const int problem = errno;
  if (problem == ENOMEM) {
    return error(Code::kSystemError,
                 "{} bytes cannot be locked for the NIC: not enough memory, or more than the limit "
                 "of locked memory allows ({}; raise it with ulimit -l or RLIMIT_MEMLOCK)",
                 region.bytes, lock_limit());
  }
  return system_error(problem, fmt::format("ibv_reg_mr of {} bytes", region.bytes));
}

}  // namespace railccl::verbs
