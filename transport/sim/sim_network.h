// Simulated rails over a virtual clock: the third kind of transport. Any number of rails, of any
// number of ranks, in one thread; each rail has a rate, a latency and queues; data is really copied
// unless told otherwise (to predict a cluster's times). Faults are events of the same clock.
// Everything is a function of the seed and of what the caller does: a run replays exactly.
//
//   SimNetwork network({.seed = 7});
//   std::unique_ptr<Rail> a = network.add_rail({.name = "a0"});
//   std::unique_ptr<Rail> b = network.add_rail({.name = "b0"});
//   network.inject({.kind = SimFault::Kind::kCut, .at = kMillisecond, .rail = 1});
//   while (...) {
//     did = a->progress(network.now(), sink_a) | b->progress(network.now(), sink_b);
//     if (!did && !network.advance()) break;   // to the next event
//   }
//
// One thread owns a network and all its rails. The network outlives them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/base/clock.h"
#include "transport/rail.h"
#include "transport/sim/sim_fault.h"

namespace railccl {

class SimRail;
class SimEndpoint;

// A write of a put into its target's memory, at the moment at which it happens.
struct SimLanding {
  uint64_t from = 0;  // the endpoints' numbers: what their address() holds
  uint64_t to = 0;
  const std::byte* address = nullptr;
  size_t bytes = 0;
};

// Sees what no owner of a rail sees; for tests.
class SimObserver {
 public:
  virtual ~SimObserver() = default;
  virtual void on_landing(const SimLanding& landing) = 0;
  // The rail has an event that its next progress() reports.
  virtual void on_raised(int rail) = 0;
};

struct SimOptions {
  uint64_t seed = 1;
  bool copy_data = true;
  SimObserver* observer = nullptr;  // outlives the network and its rails
};

struct SimRailConfig {
  std::string name = "sim0";
  uint64_t bytes_per_second = 1'250'000'000;
  TimeNs latency_ns = 5 * kMicrosecond;  // one way
  std::string adapter;
  uint64_t adapter_bytes_per_second = 0;
  size_t max_put_bytes = size_t{1} << 30;
  size_t max_outstanding_puts = 256;  // per endpoint; beyond: back-pressure
  size_t small_put_bytes = 16384;     // up to this: a lane of its own
  TimeNs connect_timeout_ns = 100 * kMillisecond;
  TimeNs close_ns = 2 * kMicrosecond;  // close() to kClosed
  TimeNs retry_ns = 5 * kMillisecond;  // a put that reaches nobody completes with an error
  bool close_is_seen = true;           // the peer's endpoint fails when this side closes
};

class SimNetwork {
 public:
  explicit SimNetwork(const SimOptions& options = {});
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // Rails are numbered in the order in which they are added.
  std::unique_ptr<Rail> add_rail(const SimRailConfig& config);

  TimeNs now() const { return now_; }
  // When the next event is due; kNever: none.
  TimeNs next_event() const { return events_.empty() ? kNever : events_.front().at; }
  // Moves the clock to the next event and runs all that are due then; false: there is none.
  bool advance();
  // Runs all events up to `time`; the clock stands there afterwards.
  void advance_to(TimeNs time);
  // Runs `action` at that time of the clock (not before now).
  void schedule(TimeNs at, std::function<void()> action);
  void inject(const SimFault& fault);

  uint64_t random() { return random_(); }
  // True with this probability.
  bool happens(double probability);
  bool copy_data() const { return options_.copy_data; }

 private:
  friend class SimRail;
  friend class SimEndpoint;
  struct Event {
    TimeNs at = 0;
    uint64_t order = 0;
    std::function<void()> action;
  };
  // For a heap with the earliest event in front.
  static bool later(const Event& a, const Event& b) {
    return a.at != b.at ? a.at > b.at : a.order > b.order;
  }

  uint64_t add_endpoint(SimEndpoint* endpoint);
  void remove_endpoint(uint64_t id) { endpoints_.erase(id); }
  SimEndpoint* endpoint(uint64_t id);
  SimRail* rail(int index) { return rails_[static_cast<size_t>(index)]; }
  void remove_rail(int index) { rails_[static_cast<size_t>(index)] = nullptr; }
  // Whether what leaves `from` arrives at `to` now.
  bool carries(int from, int to);

  SimOptions options_;
  std::mt19937_64 random_;
  TimeNs now_ = 0;
  uint64_t order_ = 0;
  std::vector<Event> events_;    // a heap, see later()
  std::vector<SimRail*> rails_;  // null: destroyed
  std::unordered_map<uint64_t, SimEndpoint*> endpoints_;
};

}  // namespace railccl
