#include "transport/verbs/verbs_rail.h"

#include <sodium.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <limits>
#include <span>
#include <utility>

namespace railccl {

Result<std::unique_ptr<Rail>> open_verbs_rail(const VerbsRailConfig& config,
                                              const VerbsRailOptions& options) {
  RAILCCL_ASSIGN(const verbs::VerbsApi* api, verbs::load_verbs());
  return open_verbs_rail(config, options, *api);
}

Result<std::unique_ptr<Rail>> open_verbs_rail(const VerbsRailConfig& config,
                                              const VerbsRailOptions& options,
                                              const verbs::VerbsApi& api) {
  return verbs::VerbsRail::open(config, options, api);
}

namespace verbs {
namespace {

constexpr TimeNs kTickPeriod = 2 * kMillisecond;
constexpr int kPollBatch = 32;
constexpr int kBatchesPerProgress = 8;  // and queue; then other rails have their turn
// Between two looks at the descriptors. An owner that sleeps is called when they show something;
// where it was called back so soon, and nothing had come, it is not known what that was.
constexpr TimeNs kLookInterval = 10 * kMillisecond;
constexpr TimeNs kCalledBack = 500 * kMicrosecond;
constexpr uint32_t kMaxEndpointId = (1U << 24) - 1;
constexpr std::chrono::seconds kLongEnd{1};  // of one queue pair
constexpr size_t kMostHeldUp = 32;           // queue pairs, while that takes so long
constexpr size_t kLeastLockedBytes = size_t{1} << 16;

unsigned access_flags(RelaxedOrdering ordering) {
  const unsigned access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
  // libibverbs leaves out what a device does not offer.
  return ordering == RelaxedOrdering::kOff ? access : access | IBV_ACCESS_RELAXED_ORDERING;
}

}  // namespace

Result<std::unique_ptr<Rail>> VerbsRail::open(const VerbsRailConfig& config,
                                              const VerbsRailOptions& options,
                                              const VerbsApi& api) {
  if (sodium_init() < 0) {
    return error(Code::kSystemError, "libsodium cannot be initialized: no source of randomness");
  }
  if (options.queue_pairs < 1 || options.queue_pairs > static_cast<int>(kMaxQueuePairs)) {
    return error(Code::kInvalidArgument, "{} queue pairs per endpoint: 1 to {}",
                 options.queue_pairs, kMaxQueuePairs);
  }
  std::unique_ptr<VerbsRail> rail(new VerbsRail(config, options));
  RAILCCL_ASSIGN(rail->device_, VerbsDevice::open(api, config.device, config.port));
  rail->epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!rail->epoll_) return system_error(errno, "epoll_create1");
  rail->timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!rail->timer_) return system_error(errno, "timerfd_create");
  RAILCCL_TRY(rail->watch(rail->device_->channel()->fd));
  RAILCCL_TRY(rail->watch(rail->device_->context()->async_fd));
  RAILCCL_TRY(rail->watch(rail->timer_.get()));
  RAILCCL_ASSIGN(const Local found, rail->local());
  rail->config_.info.address = gid_text(found.gid.gid);
  RAILCCL_TRY(rail->check_locking());
  return rail;
}

// Nothing works on a rail without locked memory, so it is found out at once.
Status VerbsRail::check_locking() {
  std::vector<std::byte> memory(kLeastLockedBytes);
  const auto registration = register_memory({.address = memory.data(), .bytes = memory.size()});
  return registration ? Status::ok() : Status(registration.error());
}

Status VerbsRail::watch(int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return Status::ok();
  return system_error(errno, "epoll_ctl of a verbs descriptor");
}

// Asked anew for every endpoint: a GID may have moved while the port was down.
Result<Local> VerbsRail::local() {
  RAILCCL_ASSIGN(const ibv_port_attr port, device_->query_port());
  RAILCCL_ASSIGN(const std::vector<GidEntry> gids, device_->query_gids());
  GidWish wish = options_.gid;
  wish.ethernet = port.link_layer == IBV_LINK_LAYER_ETHERNET;
  auto gid = choose_gid(gids, wish);
  if (!gid) return Error(gid.error().with_context(fmt::format("rail {}", info().name)));
  return Local{.gid = *gid, .ethernet = wish.ethernet, .lid = port.lid, .mtu = port.active_mtu};
}

Result<std::unique_ptr<Registration>> VerbsRail::register_memory(const MemoryRegion& region) {
  auto memory = device_->register_memory(region, access_flags(options_.relaxed_ordering));
  if (!memory) return Error(memory.error().with_context(fmt::format("rail {}", info().name)));
  return std::make_unique<VerbsRegistration>(region, std::move(*memory), registered_);
}

Result<std::unique_ptr<Endpoint>> VerbsRail::open_endpoint(uint64_t endpoint_tag) {
  RAILCCL_TRY(device_lost_);
  if (!port_up_) return error(Code::kRailFailed, "rail {}: the port is down", info().name);
  // A device that does not get its queue pairs ended is not given more and more of them.
  if (device_->ends().is_held_up(kLongEnd) && device_->ends().waiting() > kMostHeldUp) {
    return error(Code::kRailFailed, "rail {}: the device has {} queue pairs still to destroy",
                 info().name, device_->ends().waiting());
  }
  while (endpoints_.contains(next_id_)) next_id_ = next_id_ % kMaxEndpointId + 1;
  const uint32_t id = next_id_;
  next_id_ = next_id_ % kMaxEndpointId + 1;
  auto endpoint = VerbsEndpoint::create(endpoint_tag, id, *device_, options_, *this);
  if (!endpoint) {
    return Error(endpoint.error().with_context(fmt::format("rail {}", info().name)));
  }
  endpoints_.emplace(id, endpoint->get());
  armed_ = false;  // it may have brought a new completion queue
  return std::move(*endpoint);
}

std::byte* VerbsRail::find_data(uint64_t key, uint64_t offset, uint64_t bytes) const {
  const auto found = registered_.find(key);
  if (found == registered_.end() || found->second.kind != MemoryKind::kHost) return nullptr;
  const MemoryRegion& region = found->second;
  if (offset > region.bytes || bytes > region.bytes - offset) return nullptr;
  return region.address + offset;
}

void VerbsRail::on_destroyed(VerbsEndpoint& endpoint) { endpoints_.erase(endpoint.id()); }

// --- Progress ------------------------------------------------------------------------------------

bool VerbsRail::progress(TimeNs now, EventSink& sink) {
  now_ = now;
  sink_ = &sink;
  bool did = poll_completions();
  if (ticking_) serve_ticks();
  const bool asleep_next = std::exchange(falling_asleep_, false);
  if (now >= look_at_ || (asleep_next && (ticking_ || now < asleep_at_ + kCalledBack))) {
    look_at_ = now + kLookInterval;
    did = serve_descriptors() || did;
  }
  if (asleep_next) did = prepare_queues() || did;
  sink_ = nullptr;
  return did;
}

// Completions after this show in the descriptor; true: there were some before.
bool VerbsRail::prepare_queues() {
  asleep_at_ = now_;
  if (armed_ && completed_) take_channel_events(device_->queues().size());
  completed_ = false;
  if (armed_) return false;
  // A queue that cannot be asked is still looked at by every call.
  armed_ = arm().is_ok();
  return poll_completions();
}

bool VerbsRail::poll_completions() {
  bool did = false;
  std::array<ibv_wc, kPollBatch> batch;
  // By index: who hears of a completion may open an endpoint, and that may bring a new queue.
  for (size_t i = 0; i < device_->queues().size(); ++i) {
    ibv_cq* queue = device_->queues()[i]->handle.get();
    for (int round = 0; round < kBatchesPerProgress; ++round) {
      const int count = ibv_poll_cq(queue, kPollBatch, batch.data());
      if (count < 0) {
        lose_device("ibv_poll_cq failed");
        break;
      }
      for (const ibv_wc& completion : std::span(batch).first(static_cast<size_t>(count))) {
        const WorkId id = decode_work_id(completion.wr_id);
        // Of an endpoint that is gone, completions mean nothing.
        const auto found = endpoints_.find(id.endpoint);
        if (found == endpoints_.end()) continue;
        found->second->on_completion(id, completion);
      }
      did = did || count > 0;
      if (count < kPollBatch) break;
    }
  }
  completed_ = completed_ || did;
  return did;
}

Status VerbsRail::arm() {
  for (const auto& queue : device_->queues()) {
    if (const int problem = ibv_req_notify_cq(queue->handle.get(), 0); problem != 0) {
      return system_error(problem, "ibv_req_notify_cq");
    }
  }
  return Status::ok();
}

bool VerbsRail::serve_descriptors() {
  std::array<epoll_event, 3> ready;
  const int count = epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), 0);
  bool did = false;
  for (int i = 0; i < count; ++i) {
    const int fd = ready[static_cast<size_t>(i)].data.fd;
    if (fd == device_->channel()->fd) {
      take_channel_events(std::numeric_limits<size_t>::max());
    } else if (fd == timer_.get()) {
      uint64_t expirations = 0;
      [[maybe_unused]] const ssize_t bytes = ::read(fd, &expirations, sizeof expirations);
    } else {
      did = take_device_events() || did;
    }
  }
  return did;
}

void VerbsRail::take_channel_events(size_t most) {
  ibv_cq* queue = nullptr;
  void* user = nullptr;
  for (; most > 0 && api().get_cq_event(device_->channel(), &queue, &user) == 0; --most) {
    api().ack_cq_events(queue, 1);
    armed_ = false;
  }
}

// --- The port ------------------------------------------------------------------------------------

bool VerbsRail::take_device_events() {
  bool did = false;
  ibv_async_event event{};
  while (api().get_async_event(device_->context(), &event) == 0) {
    // Acknowledged first: a queue pair cannot be destroyed while it has an event open.
    const ibv_async_event copy = event;
    const bool of_pair = copy.event_type == IBV_EVENT_QP_FATAL ||
                         copy.event_type == IBV_EVENT_QP_REQ_ERR ||
                         copy.event_type == IBV_EVENT_QP_ACCESS_ERR;
    const auto id =
        of_pair ? static_cast<uint32_t>(reinterpret_cast<uintptr_t>(copy.element.qp->qp_context))
                : 0;
    api().ack_async_event(&event);
    did = true;
    if (!of_pair) {
      on_device_event(copy);
    } else if (const auto found = endpoints_.find(id); found != endpoints_.end()) {
      found->second->on_queue_pair_event(api().event_type_str(copy.event_type));
    }
  }
  return did;
}

void VerbsRail::on_device_event(const ibv_async_event& event) {
  const char* text = api().event_type_str(event.event_type);
  switch (event.event_type) {
    case IBV_EVENT_PORT_ERR:
      if (event.element.port_num == config_.port) set_port(false, text);
      break;
    case IBV_EVENT_PORT_ACTIVE:
      if (event.element.port_num == config_.port) set_port(true, text);
      break;
    case IBV_EVENT_DEVICE_FATAL:
      lose_device(text);
      break;
    case IBV_EVENT_GID_CHANGE:
    case IBV_EVENT_LID_CHANGE:
      drop_moved(text);
      break;
    default:
      // Partitions are read anew for every endpoint; one that cannot go on with the old ones fails
      // by itself.
      break;
  }
}

// The addresses of a port are read anew for every endpoint. One that still has an old one would
// only find out by its timeouts.
void VerbsRail::drop_moved(const char* why) {
  const auto port = device_->query_port();
  const auto gids = device_->query_gids();
  if (!port || !gids) return;
  std::vector<VerbsEndpoint*> moved;
  for (const auto& [id, endpoint] : endpoints_) {
    const Local& local = endpoint->local();
    const bool stands =
        local.lid == port->lid && std::ranges::find(*gids, local.gid) != gids->end();
    if (!stands) moved.push_back(endpoint);
  }
  for (VerbsEndpoint* endpoint : moved) endpoint->on_moved(why);
}

void VerbsRail::lose_device(const char* why) {
  if (!device_lost_.is_ok()) return;
  device_lost_ = error(Code::kRailFailed, "rail {}: {}", info().name, why);
  set_port(false, why);
}

void VerbsRail::set_port(bool up, const char* why) {
  if (port_up_ == up || (up && !device_lost_.is_ok())) return;
  port_up_ = up;
  raise({.kind = up ? RailEvent::Kind::kRailUp : RailEvent::Kind::kRailDown,
         .status = up ? Status::ok()
                      : Status(error(Code::kRailFailed, "rail {}: {}", info().name, why))});
}

// --- Deadlines -----------------------------------------------------------------------------------

void VerbsRail::serve_ticks() {
  // A copy, and asked again at the end: a tick raises events, and who hears of them may open or
  // close endpoints.
  std::vector<VerbsEndpoint*> waiting;
  for (const auto& [id, endpoint] : endpoints_) {
    if (endpoint->wants_ticks()) waiting.push_back(endpoint);
  }
  for (VerbsEndpoint* endpoint : waiting) endpoint->tick();
  set_ticking(std::ranges::any_of(endpoints_,
                                  [](const auto& entry) { return entry.second->wants_ticks(); }));
}

void VerbsRail::set_ticking(bool wanted) {
  if (ticking_ == wanted) return;
  ticking_ = wanted;
  const timespec period{.tv_sec = 0, .tv_nsec = wanted ? static_cast<long>(kTickPeriod) : 0};
  const itimerspec timer{.it_interval = period, .it_value = period};
  timerfd_settime(timer_.get(), 0, &timer, nullptr);
}

}  // namespace verbs
}  // namespace railccl
