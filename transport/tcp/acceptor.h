// The listeners of a rail: one takes what comes in by the rail's device, the other one what comes
// in by any other way (from this machine; or by another NIC of the same subnet). The acceptor takes
// connections, lets those prove themselves that name one of the rail's endpoints, and drops all
// others. Strangers are bounded in number and time, cost the established endpoints nothing, and are
// reported once. Owned by the rail; its thread.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "src/base/unique_fd.h"
#include "transport/net/poller.h"
#include "transport/tcp/handshake.h"
#include "transport/tcp/tcp_transport.h"

namespace railccl::tcp {

// What an acceptor needs to know of an endpoint.
struct Expectation {
  enum class State : uint8_t {
    kUnknown,  // no such endpoint, or it expects nothing: drop
    kLater,    // its connect() has not been called yet: hold the connection
    kNow,
  };
  State state = State::kUnknown;
  uint64_t peer_id = 0;
  SessionKey key{};
};

class AcceptorHost {
 public:
  virtual ~AcceptorHost() = default;
  virtual Expectation expectation(uint64_t endpoint_id) = 0;
  virtual void on_accepted(uint64_t endpoint_id, LaneId lane, UniqueFd fd) = 0;
  virtual void warn_once(std::string_view kind, const std::string& message) = 0;
};

class Acceptor final {
 public:
  // What it refers to outlives it.
  static Result<std::unique_ptr<Acceptor>> open(const TcpRailConfig& config,
                                                const TcpRailOptions& options, net::Poller& poller,
                                                AcceptorHost& host);
  ~Acceptor();

  // With the port that peers dial.
  const net::SocketAddress& address() const { return address_; }
  // The endpoint's expectation has changed: held connections go on, or are dropped.
  void reconsider(uint64_t endpoint_id);
  // Drops what takes too long. Wanted every few milliseconds while needs_tick().
  void tick(TimeNs now);
  bool needs_tick() const { return paused_ || !incoming_.empty(); }
  // Frees what was dropped. Not while the poller's events are served.
  void sweep();

 private:
  class Incoming;
  class Listener;

  Acceptor(const TcpRailConfig& config, const TcpRailOptions& options, net::Poller& poller,
           AcceptorHost& host);
  Status listen();
  void admit(UniqueFd fd, const net::SocketAddress& peer, bool by_device);
  void make_room();
  void make_room_on_lane(const Incoming& newest);
  void pause_listening(int error_number);
  void report_stranger(const Incoming& incoming, std::string_view reason);

  const TcpRailConfig& config_;
  const TcpRailOptions& options_;
  net::Poller& poller_;
  AcceptorHost& host_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  net::SocketAddress address_;
  bool paused_ = false;  // out of descriptors: no listener is watched until the next tick
  std::vector<std::unique_ptr<Incoming>> incoming_;  // oldest first
};

}  // namespace railccl::tcp
