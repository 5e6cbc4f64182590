#include "transport/tcp/tcp_rail.h"

#include <sodium.h>

#include <algorithm>

namespace railccl {

Result<std::unique_ptr<Rail>> open_tcp_rail(const TcpRailConfig& config,
                                            const TcpRailOptions& options) {
  return tcp::TcpRail::open(config, options);
}

namespace tcp {
namespace {

constexpr TimeNs kTickPeriod = 10 * kMillisecond;
// What hot lanes do not bring is asked of the poller after so many calls that found nothing: an
// answer is mostly there after a call or two, and would wait for it. Counted and not timed, so that
// it is as rare where everything takes longer.
constexpr int kAskPollerAfter = 8;
// And so often in any case: for a caller who does other things between his calls; and for peers
// whose lanes are not hot while others bring much.
constexpr TimeNs kAskPollerAtLeast = kMillisecond;
constexpr TimeNs kAskPollerWhileBusy = 100 * kMicrosecond;

}  // namespace

TcpRail::TcpRail(const TcpRailConfig& config, const TcpRailOptions& options, net::Poller poller)
    : core_(config, options, std::move(poller)) {
  core_.memory().set_on_gone([this](uint64_t key) {
    for (auto& [id, endpoint] : endpoints_) endpoint->on_registration_gone(key);
  });
}

Result<std::unique_ptr<Rail>> TcpRail::open(const TcpRailConfig& config,
                                            const TcpRailOptions& options) {
  if (sodium_init() < 0) {
    return error(Code::kSystemError, "libsodium cannot be initialized: no source of randomness");
  }
  RAILCCL_ASSIGN(net::Poller poller, net::Poller::create());
  std::unique_ptr<TcpRail> rail(new TcpRail(config, options, std::move(poller)));
  RAILCCL_ASSIGN(rail->acceptor_, Acceptor::open(rail->core_.config(), rail->core_.options(),
                                                 rail->core_.poller(), *rail));
  RAILCCL_ASSIGN(rail->monitor_,
                 net::PortMonitor::open(
                     config.interface_name, config.address, rail->core_.poller(),
                     [self = rail.get()](const Status& usable) { self->on_port_change(usable); }));
  return rail;
}

Result<std::unique_ptr<Registration>> TcpRail::register_memory(const MemoryRegion& region) {
  RAILCCL_TRY(MemoryTable::check(region, "TCP").with_context(fmt::format("rail {}", info().name)));
  return std::make_unique<MemoryTable::Entry>(region, core_.memory());
}

Result<std::unique_ptr<Endpoint>> TcpRail::open_endpoint(uint64_t endpoint_tag) {
  auto endpoint = std::make_unique<TcpEndpoint>(endpoint_tag, acceptor_->address(), core_, *this);
  endpoints_.emplace(endpoint->id(), endpoint.get());
  return endpoint;
}

bool TcpRail::progress(TimeNs now, EventSink& sink) {
  core_.begin_progress(sink, now);
  bool did = core_.acknowledge_members();  // and sends what was put since the last call
  did = serve_ready(now) || did;
  if (tick_period_ != 0 || wanted_tick() != 0) serve_timers(now);
  did = core_.report_members() || did;
  did = core_.flush_members() || did;  // what was put in reaction to events
  core_.end_progress();
  return did || core_.has_work();
}

bool TcpRail::flush(TimeNs now, EventSink& sink) {
  core_.begin_progress(sink, now);
  bool did = core_.acknowledge_members();
  did = core_.report_members() || did;
  core_.end_progress();
  return did || core_.has_work();
}

bool TcpRail::serve_ready(TimeNs now) {
  const bool came = core_.hot_lanes().read();
  fruitless_calls_ = came ? 0 : fruitless_calls_ + 1;
  const bool woken = calls_to_wake_ > 0 && --calls_to_wake_ == 0;
  const TimeNs pause = came ? kAskPollerWhileBusy : kAskPollerAtLeast;
  const bool asks = woken || fruitless_calls_ >= kAskPollerAfter || core_.poller().expects_room() ||
                    now - asked_poller_at_ >= pause;
  if (!asks) return came;
  asked_poller_at_ = now;
  const bool found = ask_poller();
  fruitless_calls_ = found ? kAskPollerAfter : 0;  // who has found something asks again at once
  return found || came;
}

bool TcpRail::ask_poller() {
  const auto ready = core_.poller().ready();
  bool bulk_waits = false;
  for (const epoll_event& event : ready) {
    auto& target = *static_cast<net::Pollable*>(event.data.ptr);
    if (target.is_bulk()) {
      bulk_waits = true;
    } else {
      target.on_ready(event.events);
    }
  }
  if (bulk_waits) {
    for (const epoll_event& event : ready) {
      auto& target = *static_cast<net::Pollable*>(event.data.ptr);
      if (target.is_bulk()) target.on_ready(event.events);
    }
  }
  return !ready.empty();
}

void TcpRail::serve_timers(TimeNs now) {
  if (now >= next_tick_) {
    next_tick_ = now + kTickPeriod;
    const std::vector<TcpEndpoint*> connecting = connecting_;
    for (TcpEndpoint* endpoint : connecting) endpoint->tick(now);
    acceptor_->tick(now);
    std::erase_if(connecting_, [](const TcpEndpoint* one) { return !one->connecting(); });
  }
  const TimeNs wanted = wanted_tick();
  // The short tick outlives what it was set for by a little: it is not set anew for every put.
  if (wanted == kAcknowledgeWithin) quiet_at_ = now + 2 * kAcknowledgeWithin;
  if (wanted == tick_period_ || (tick_period_ == kAcknowledgeWithin && now < quiet_at_)) return;
  tick_period_ = wanted;
  core_.poller().set_tick(wanted);
}

TimeNs TcpRail::wanted_tick() const {
  if (core_.holds_acknowledgements()) return kAcknowledgeWithin;
  return connecting_.empty() && !acceptor_->needs_tick() ? 0 : kTickPeriod;
}

Expectation TcpRail::expectation(uint64_t endpoint_id) {
  const auto found = endpoints_.find(endpoint_id);
  return found == endpoints_.end() ? Expectation{} : found->second->expectation();
}

void TcpRail::on_accepted(uint64_t endpoint_id, LaneId lane, UniqueFd fd) {
  const auto found = endpoints_.find(endpoint_id);
  if (found != endpoints_.end()) found->second->on_lane_ready(lane, std::move(fd));
}

void TcpRail::warn_once(std::string_view kind, const std::string& message) {
  core_.warn_once(kind, message);
}

void TcpRail::on_expectation_changed(uint64_t endpoint_id) {
  const auto found = endpoints_.find(endpoint_id);
  if (found != endpoints_.end() && found->second->connecting()) {
    connecting_.push_back(found->second);
    next_tick_ = 0;  // dial in the next call of progress
    core_.poller().wake();
  }
  acceptor_->reconsider(endpoint_id);
}

void TcpRail::on_destroyed(TcpEndpoint& endpoint) {
  endpoints_.erase(endpoint.id());
  std::erase(connecting_, &endpoint);
  acceptor_->reconsider(endpoint.id());
}

void TcpRail::on_port_change(const Status& usable) {
  core_.raise({.kind = usable ? RailEvent::Kind::kRailUp : RailEvent::Kind::kRailDown,
               .status = usable.with_context(fmt::format("rail {}", info().name))});
}

}  // namespace tcp
}  // namespace railccl
