#include "transport/ucx/ucx_rail.h"

#include <sodium.h>

#include <algorithm>
#include <utility>

namespace railccl {

Status ucx_available() {
  const auto api = ucx::load_ucx();
  return api ? Status::ok() : api.error();
}

Result<std::unique_ptr<Rail>> open_ucx_rail(const UcxRailConfig& config,
                                            const UcxRailOptions& options) {
  RAILCCL_ASSIGN(const ucx::UcxApi* api, ucx::load_ucx());
  return ucx::UcxRail::open(config, options, *api);
}

namespace ucx {
namespace {

constexpr TimeNs kTickPeriod = 2 * kMillisecond;
constexpr uint32_t kHotRounds = 256;  // without anything to do, then it is not hot any more
constexpr uint32_t kBusyRounds = 64;  // between two looks at descriptors when never idle

}  // namespace

UcxRail::UcxRail(const UcxRailConfig& config, const UcxRailOptions& options, net::Poller poller)
    : config_(config), options_(options), poller_(std::move(poller)) {
  memory_.set_on_gone([this](uint64_t key) {
    for (auto& [endpoint, activity] : endpoints_) endpoint->on_registration_gone(key);
  });
}

Result<std::unique_ptr<Rail>> UcxRail::open(const UcxRailConfig& config,
                                            const UcxRailOptions& options, const UcxApi& api) {
  if (sodium_init() < 0) {
    return error(Code::kSystemError, "libsodium cannot be initialized: no source of randomness");
  }
  RAILCCL_ASSIGN(net::Poller poller, net::Poller::create());
  std::unique_ptr<UcxRail> rail(new UcxRail(config, options, std::move(poller)));
  auto context = UcxContext::open(api, config, options);
  if (!context) {
    return Error(context.error().with_context(fmt::format("rail {}", config.info.name)));
  }
  rail->context_ = std::move(*context);
  if (config.interface.empty()) return rail;
  RAILCCL_ASSIGN(rail->monitor_,
                 net::PortMonitor::open(
                     config.interface, config.address, rail->poller_,
                     [self = rail.get()](const Status& usable) { self->on_port_change(usable); }));
  return rail;
}

Result<std::unique_ptr<Registration>> UcxRail::register_memory(const MemoryRegion& region) {
  const std::string name = fmt::format("rail {}", info().name);
  RAILCCL_TRY(MemoryTable::check(region, "UCX").with_context(name));
  auto memory = context_->map(region);
  if (!memory) return Error(memory.error().with_context(name));
  return std::make_unique<UcxRegistration>(region, memory_, std::move(*memory));
}

Result<std::unique_ptr<Endpoint>> UcxRail::open_endpoint(uint64_t endpoint_tag) {
  auto endpoint = UcxEndpoint::create(endpoint_tag, options_, *this);
  if (endpoint) return std::move(*endpoint);
  return Error(endpoint.error().with_context(fmt::format("rail {}", info().name)));
}

void UcxRail::on_destroyed(UcxEndpoint& endpoint) {
  endpoints_.erase(&endpoint);
  std::erase(hot_, &endpoint);
}

void UcxRail::raise(const RailEvent& event) {
  raised_ = true;
  sink_->on_event(event);
}

void UcxRail::want_progress(UcxEndpoint& endpoint) {
  Activity& activity = endpoints_[&endpoint];
  activity.armed = false;
  activity.idle_rounds = 0;
  if (!activity.hot) hot_.push_back(&endpoint);
  activity.hot = true;
  if (sink_ == nullptr && !wanted_) poller_.wake();
  wanted_ = true;
}

// --- Progress ------------------------------------------------------------------------------------

bool UcxRail::progress(TimeNs now, EventSink& sink) {
  now_ = now;
  sink_ = &sink;
  wanted_ = false;
  raised_ = false;
  bool did = serve_hot();
  if (ticking_) serve_ticks();
  if (!did || ++busy_rounds_ >= kBusyRounds) {
    busy_rounds_ = 0;
    serve_descriptors();
  }
  if (std::exchange(wanted_, false)) did = serve_hot() || did;
  did = did || raised_;
  if (!did) did = !arm_hot();
  sink_ = nullptr;
  if (wanted_) poller_.wake();  // for an owner that stops here
  return did;
}

bool UcxRail::serve_hot() {
  bool did = false;
  // By index: who hears of an event may make other endpoints hot.
  for (size_t i = 0; i < hot_.size(); ++i) {
    UcxEndpoint* endpoint = hot_[i];
    const bool busy = endpoint->progress();
    Activity& activity = endpoints_[endpoint];
    activity.idle_rounds = busy ? 0 : activity.idle_rounds + 1;
    if (busy) activity.armed = false;
    did = did || busy;
  }
  return did;
}

// A worker's descriptor stays readable until the worker is armed: that it is says nothing yet.
void UcxRail::serve_descriptors() {
  for (const epoll_event& event : poller_.ready()) {
    static_cast<net::Pollable*>(event.data.ptr)->on_ready(event.events);
  }
}

// True when all are armed and there is nothing to do.
bool UcxRail::arm_hot() {
  bool all = true;
  for (UcxEndpoint* endpoint : hot_) {
    Activity& activity = endpoints_[endpoint];
    if (!activity.armed) activity.armed = endpoint->arm();
    all = all && activity.armed;
  }
  std::erase_if(hot_, [this](UcxEndpoint* endpoint) {
    Activity& activity = endpoints_[endpoint];
    const bool cools = activity.armed && activity.idle_rounds >= kHotRounds;
    if (cools) activity.hot = false;
    return cools;
  });
  return all;
}

void UcxRail::on_port_change(const Status& usable) {
  port_up_ = usable.is_ok();
  raise({.kind = usable ? RailEvent::Kind::kRailUp : RailEvent::Kind::kRailDown,
         .status = usable.with_context(fmt::format("rail {}", info().name))});
}

// --- Deadlines -----------------------------------------------------------------------------------

void UcxRail::serve_ticks() {
  // A copy, and asked again at the end: a tick raises events, and who hears of them may open or
  // close endpoints.
  std::vector<UcxEndpoint*> waiting;
  for (const auto& [endpoint, activity] : endpoints_) {
    if (endpoint->wants_ticks()) waiting.push_back(endpoint);
  }
  for (UcxEndpoint* endpoint : waiting) endpoint->tick();
  set_ticking(std::ranges::any_of(endpoints_,
                                  [](const auto& entry) { return entry.first->wants_ticks(); }));
}

void UcxRail::set_ticking(bool wanted) {
  if (ticking_ == wanted) return;
  ticking_ = wanted;
  poller_.set_tick(wanted ? kTickPeriod : 0);
}

}  // namespace ucx
}  // namespace railccl
