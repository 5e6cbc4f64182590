// One rail's connection to one peer over TCP: two sockets, one for small puts and acknowledgements,
// one for bulk. The endpoint with the smaller id dials. Created by TcpRail; the rail's thread.
//
//   kOpen --connect()--> kConnecting --both sockets proved--> kConnected
//     any of these --error--> kFailed          any state --close()--> kClosed
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "transport/rail.h"
#include "transport/tcp/acceptor.h"
#include "transport/tcp/dialer.h"
#include "transport/tcp/rail_core.h"
#include "transport/tcp/tcp_lane.h"

namespace railccl::tcp {

class TcpEndpoint;

// The rail, as its endpoints see it.
class EndpointDirectory {
 public:
  virtual ~EndpointDirectory() = default;
  // The answer of TcpEndpoint::expectation() has changed, or the endpoint has begun to connect.
  virtual void on_expectation_changed(uint64_t endpoint_id) = 0;
  virtual void on_destroyed(TcpEndpoint& endpoint) = 0;
};

class TcpEndpoint final : public Endpoint, public RailMember, public LaneHost, public LaneOwner {
 public:
  TcpEndpoint(uint64_t tag, const net::SocketAddress& listening_at, RailCore& core,
              EndpointDirectory& directory);
  ~TcpEndpoint() override;

  // Endpoint:
  std::vector<std::byte> address() const override;
  Status connect(const std::vector<std::byte>& peer_address) override;
  Status put(const Put& put) override;
  void close() override;

  // For the rail:
  uint64_t id() const { return self_.endpoint_id; }
  Expectation expectation() const;
  bool connecting() const { return state_ == State::kConnecting; }
  void tick(TimeNs now);  // while connecting; during progress
  void on_registration_gone(uint64_t key);
  // RailMember, during progress:
  bool flush(LaneId lane) override;
  void report() override;
  // LaneOwner, from dialers and, through the rail, from the acceptor; during progress.
  void on_lane_ready(LaneId lane, UniqueFd fd) override;

  // LaneHost:
  bool on_lane_readable(LaneId lane) override;
  void on_lane_writable(LaneId lane) override;
  Result<MemoryTable::Place> locate_put(const PutHeader& header) override;
  void on_put_here(LaneId lane, const PutHeader& header, const std::byte* data) override;
  Status on_acknowledgement(const AckFrame& ack) override;
  Status on_farewell(const FarewellFrame& farewell) override;
  bool receiving() const override { return state_ == State::kConnected; }

 private:
  enum class State : uint8_t { kOpen, kConnecting, kConnected, kFailed, kClosed };

  TcpLane& lane(LaneId id) { return lanes_[lane_index(id)]; }
  Status check_put(const Put& put) const;
  void acknowledge(TcpLane& small);
  void raise_done(const OutgoingPut& put, TimeNs held_back);
  void fail(const Status& reason);
  void end(State state, Status reason, std::string_view farewell);
  Status timeout_reason() const;

  RailCore& core_;
  EndpointDirectory& directory_;
  const uint64_t tag_;
  const net::SocketAddress listening_at_;
  const Identity self_;
  Identity peer_;
  net::SocketAddress peer_address_;
  SessionKey key_{};

  State state_ = State::kOpen;
  Status reason_;  // why it ended
  bool failure_reported_ = false;
  bool close_reported_ = false;
  TimeNs connect_deadline_ = 0;  // set by the first tick
  std::array<TcpLane, kLanes> lanes_;
  std::array<std::optional<Dialer>, kLanes> dialers_;
  AckFrame placed_;             // puts of the peer, per lane, since the start
  TimeNs small_placed_at_ = 0;  // the newest on the small lane
  size_t small_unacknowledged_ = 0;
  bool owes_ = false;  // an acknowledgement
};

}  // namespace railccl::tcp
