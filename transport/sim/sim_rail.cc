#include "transport/sim/sim_rail.h"

#include <algorithm>
#include <utility>

#include "transport/sim/sim_endpoint.h"

namespace railccl {
namespace {

constexpr uint64_t kHeaderBytes = 64;  // on the wire, with every put

}  // namespace

class SimRegistration final : public Registration {
 public:
  SimRegistration(SimRail& rail, const MemoryRegion& region, uint64_t key)
      : Registration(region, key), rail_(rail) {}
  ~SimRegistration() override { rail_.registered_.erase(key()); }

 private:
  SimRail& rail_;
};

TimeNs SimQueue::pass(uint64_t bytes, double bytes_per_second, TimeNs now) {
  const double ns = static_cast<double>(bytes + kHeaderBytes) * 1e9 / bytes_per_second;
  free_at_ = std::max(free_at_, now) + static_cast<TimeNs>(ns);
  return free_at_;
}

SimRail::SimRail(SimNetwork& network, int index, const SimRailConfig& config)
    : network_(network), index_(index), config_(config) {
  info_.name = config.name;
  info_.transport = TransportKind::kSim;
  info_.bytes_per_second = config.bytes_per_second;
  info_.latency_ns = config.latency_ns;
  info_.adapter = config.adapter;
  info_.adapter_bytes_per_second = config.adapter_bytes_per_second;
  info_.address = config.name;
  info_.memory_kinds = static_cast<uint32_t>(MemoryKind::kHost);
  info_.max_put_bytes = config.max_put_bytes;
}

SimRail::~SimRail() { network_.remove_rail(index_); }

double SimRail::bytes_per_second() const {
  return std::max(1.0, static_cast<double>(config_.bytes_per_second) * port_.rate_factor);
}

Result<std::unique_ptr<Registration>> SimRail::register_memory(const MemoryRegion& region) {
  if (region.kind != MemoryKind::kHost || (region.address == nullptr && region.bytes != 0)) {
    return error(Code::kInvalidArgument, "rail {}: only host memory can be registered", info_.name);
  }
  uint64_t key = network_.random();
  while (key == 0 || registered_.contains(key)) key = network_.random();
  registered_[key] = region;
  return std::make_unique<SimRegistration>(*this, region, key);
}

Result<std::unique_ptr<Endpoint>> SimRail::open_endpoint(uint64_t endpoint_tag) {
  if (!port_.up) return error(Code::kRailFailed, "rail {}: the port is down", info_.name);
  return std::make_unique<SimEndpoint>(network_, *this, endpoint_tag);
}

void SimRail::raise(const RailEvent& event, std::span<const std::byte> shown) {
  events_.push_back({.event = event, .shown = {shown.begin(), shown.end()}});
  if (SimObserver* observer = network_.options_.observer) observer->on_raised(index_);
}

bool SimRail::progress(TimeNs, EventSink& sink) {
  // Only what is there now: an event that its handling causes waits for the next call.
  const size_t due = events_.size();
  for (size_t i = 0; i < due; ++i) {
    Raised raised = std::move(events_.front());
    events_.pop_front();
    if (!raised.shown.empty()) raised.event.data = raised.shown.data();
    sink.on_event(raised.event);
  }
  return due != 0;
}

TimeNs SimRail::send_time(uint64_t bytes) {
  SimQueue& queue = bytes <= config_.small_put_bytes ? small_out_ : bulk_out_;
  return queue.pass(bytes, bytes_per_second(), network_.now());
}

TimeNs SimRail::receive_time(uint64_t bytes) {
  SimQueue& queue = bytes <= config_.small_put_bytes ? small_in_ : bulk_in_;
  // Cut through: what arrives at the port's own rate has passed when it has arrived.
  const double ns = static_cast<double>(bytes + kHeaderBytes) * 1e9 / bytes_per_second();
  const TimeNs begun = network_.now() - std::min(network_.now(), static_cast<TimeNs>(ns));
  return std::max(network_.now(), queue.pass(bytes, bytes_per_second(), begun));
}

std::byte* SimRail::target(uint64_t key, uint64_t offset, uint64_t bytes) const {
  const auto found = registered_.find(key);
  if (found == registered_.end()) return nullptr;
  const MemoryRegion& region = found->second;
  if (offset > region.bytes || bytes > region.bytes - offset) return nullptr;
  return region.address + offset;
}

bool SimRail::shows(uint64_t key) {
  const auto found = registered_.find(key);
  if (found == registered_.end() || !found->second.by_view) return false;
  showed_ = !showed_;
  return showed_;
}

void SimRail::fail_endpoints(const Status& status) {
  const std::vector<SimEndpoint*> all = endpoints_;
  for (SimEndpoint* endpoint : all) endpoint->fail(status);
}

void SimRail::restore() {
  const bool was_down = !port_.up;
  // A NIC that acknowledged what it dropped comes back without its connections.
  if (port_.acknowledge_only) {
    fail_endpoints(Status(Code::kRailFailed, fmt::format("rail {}: it was reset", info_.name)));
  }
  port_ = SimPort{};
  if (was_down) raise({.kind = RailEvent::Kind::kRailUp});
}

void SimRail::apply(const SimFault& fault) {
  const auto failed = [&](const char* what) {
    return Status(Code::kRailFailed, fmt::format("rail {}: {}", info_.name, what));
  };
  switch (fault.kind) {
    case SimFault::Kind::kCut: {
      port_.up = false;
      const Status status = failed("the port went down");
      raise({.kind = RailEvent::Kind::kRailDown, .status = status});
      fail_endpoints(status);
      break;
    }
    case SimFault::Kind::kRestore:
      restore();
      break;
    case SimFault::Kind::kMute:
      port_.mute = true;
      break;
    case SimFault::Kind::kDeaf:
      port_.deaf = true;
      break;
    case SimFault::Kind::kFailEndpoints:
      fail_endpoints(failed("the queue pair went to the error state"));
      break;
    case SimFault::Kind::kAcknowledgeOnly:
      port_.acknowledge_only = true;
      network_.schedule(network_.now() + fault.duration,
                        [this] { port_.mute = port_.mute || port_.acknowledge_only; });
      break;
    case SimFault::Kind::kLoseCompletions:
      port_.lose_completions = true;
      break;
    case SimFault::Kind::kLateWrites:
      port_.late_ns = fault.duration;
      fail_endpoints(failed("retries exceeded"));
      break;
    case SimFault::Kind::kDuplicate:
      port_.duplicate = true;
      break;
    case SimFault::Kind::kJitter:
      port_.jitter_ns = fault.duration;
      break;
    case SimFault::Kind::kRate:
      port_.rate_factor = fault.value;
      break;
    case SimFault::Kind::kLoss:
      port_.loss = fault.value;
      break;
    case SimFault::Kind::kCorrupt:
      port_.corruption = fault.value;
      break;
  }
}

}  // namespace railccl
