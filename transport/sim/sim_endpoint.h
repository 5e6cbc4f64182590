// One end of a simulated connection. What it has put is on the way ("flight") independently of what
// becomes of the endpoint: a put that has completed with an error may still land, until the other
// side has closed. Internal to sim.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "transport/rail.h"
#include "transport/sim/sim_rail.h"

namespace railccl {

class SimEndpoint final : public Endpoint {
 public:
  SimEndpoint(SimNetwork& network, SimRail& rail, uint64_t tag);
  ~SimEndpoint() override;

  std::vector<std::byte> address() const override;
  Status connect(const std::vector<std::byte>& peer_address) override;
  Status put(const Put& put) override;
  void close() override;

  // The endpoint accepts nothing more; what was accepted completes with this error.
  void fail(const Status& status);

 private:
  enum class State : uint8_t { kNew, kConnecting, kConnected, kFailed, kClosing, kClosed };
  struct Flight {
    uint64_t number = 0;
    Put put;
    int from_rail = 0;
    uint64_t from = 0;
    uint64_t to = 0;
    bool sent = false;            // has left the port
    bool completed = false;       // at the sender
    bool dropped = false;         // the sender's endpoint was destroyed without closing
    std::vector<std::byte> data;  // taken from the source when it completed before it landed
    TimeNs late_ns = 0;
  };
  using FlightRef = std::shared_ptr<Flight>;

  void try_connect();
  void become_connected();
  void complete(const FlightRef& flight, const Status& status);
  void complete_all(const Status& status);
  void leave(const FlightRef& flight);
  void finish_close();
  // At the receiving end; statics, since the sender's endpoint may be gone.
  static void arrive(SimNetwork& network, const FlightRef& flight);
  static void land(SimNetwork& network, const FlightRef& flight);
  static void place(SimNetwork& network, const Flight& flight, SimEndpoint& target);
  static void acknowledge(SimNetwork& network, const FlightRef& flight, const SimEndpoint& target);
  static void fail_later(SimNetwork& network, uint64_t endpoint, TimeNs delay,
                         const Status& status);

  SimNetwork& network_;
  SimRail& rail_;
  uint64_t tag_;
  uint64_t id_;
  uint64_t peer_id_ = 0;
  State state_ = State::kNew;
  TimeNs connect_until_ = 0;
  uint64_t flights_made_ = 0;
  std::vector<FlightRef> outstanding_;  // accepted, not completed
};

}  // namespace railccl
