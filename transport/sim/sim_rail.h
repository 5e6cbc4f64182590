// One simulated port and its endpoints. Made by SimNetwork::add_rail; internal otherwise.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "transport/rail.h"
#include "transport/sim/sim_network.h"

namespace railccl {

// How a port does at the moment.
struct SimPort {
  bool up = true;
  bool mute = false;
  bool deaf = false;
  bool acknowledge_only = false;
  bool lose_completions = false;
  bool duplicate = false;
  TimeNs jitter_ns = 0;
  TimeNs late_ns = 0;  // for what is on the way when an endpoint fails
  double rate_factor = 1;
  double loss = 0;        // of the puts that leave; they are sent again after a while
  double corruption = 0;  // of the puts that leave; one byte lands wrong

  bool lies() const { return acknowledge_only && !mute; }
};

// A queue that passes bytes one after another.
class SimQueue {
 public:
  // When `bytes` that come at `now` have passed, at this rate.
  TimeNs pass(uint64_t bytes, double bytes_per_second, TimeNs now);

 private:
  TimeNs free_at_ = 0;
};

class SimRail final : public Rail {
 public:
  SimRail(SimNetwork& network, int index, const SimRailConfig& config);
  ~SimRail() override;

  const RailInfo& info() const override { return info_; }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) override;
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t endpoint_tag) override;
  bool progress(TimeNs now, EventSink& sink) override;
  void prepare_sleep() override {}
  int wake_fd() const override { return -1; }

  int index() const { return index_; }
  const SimRailConfig& config() const { return config_; }
  SimPort& port() { return port_; }
  double bytes_per_second() const;
  void raise(const RailEvent& event) { raise(event, {}); }
  // The event shows a copy of these bytes while it is handled.
  void raise(const RailEvent& event, std::span<const std::byte> shown);
  void apply(const SimFault& fault);

  // When `bytes` posted now have left; the other side's queue for what arrives.
  TimeNs send_time(uint64_t bytes);
  TimeNs receive_time(uint64_t bytes);

  // The memory that a peer's put may write; null: refused.
  std::byte* target(uint64_t key, uint64_t offset, uint64_t bytes) const;
  // Whether a notified put into this memory is shown instead of placed: every other one that may.
  bool shows(uint64_t key);

 private:
  friend class SimEndpoint;
  friend class SimRegistration;
  void restore();
  void fail_endpoints(const Status& status);

  SimNetwork& network_;
  int index_;
  SimRailConfig config_;
  RailInfo info_;
  SimPort port_;
  SimQueue bulk_out_, small_out_, bulk_in_, small_in_;
  std::unordered_map<uint64_t, MemoryRegion> registered_;
  std::vector<SimEndpoint*> endpoints_;
  struct Raised {
    RailEvent event;
    std::vector<std::byte> shown;
  };
  std::deque<Raised> events_;
  bool showed_ = false;
};

}  // namespace railccl
