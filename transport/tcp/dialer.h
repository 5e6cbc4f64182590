// Makes one socket of an endpoint from the dialing side: connects, proves itself, checks the peer's
// proof, and tries again until it is stopped. Owned by its endpoint; the rail's thread.
#pragma once

#include <cstdint>

#include "src/base/unique_fd.h"
#include "transport/net/poller.h"
#include "transport/net/socket_address.h"
#include "transport/tcp/handshake.h"
#include "transport/tcp/tcp_transport.h"

namespace railccl::tcp {

// Takes a socket on which both ends have proved themselves.
class LaneOwner {
 public:
  virtual ~LaneOwner() = default;
  virtual void on_lane_ready(LaneId lane, UniqueFd fd) = 0;
};

class Dialer final : public net::Pollable {
 public:
  struct Target {
    LaneId lane = LaneId::kSmall;
    net::SocketAddress peer;
    uint64_t self_id = 0;
    uint64_t peer_id = 0;
    SessionKey key{};
  };
  // What it refers to outlives it.
  Dialer(const Target& target, const TcpRailConfig& config, const TcpRailOptions& options,
         net::Poller& poller, LaneOwner& owner);
  ~Dialer() override { stop(); }
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  // Starts the first attempt, ends one that takes too long, starts the next.
  void tick(TimeNs now);
  void on_ready(uint32_t ready) override;
  void stop();
  // Of the latest attempt that ended; success while there was none.
  const Status& last_error() const { return last_error_; }

 private:
  enum class State : uint8_t { kIdle, kConnecting, kAwaitingChallenge, kDone };

  void start(TimeNs now);
  bool keeps_to_device(TimeNs now) const;
  void fail_attempt(Status reason);
  Status say_hello();
  Status answer_challenge();
  void drop_socket();

  const Target target_;
  const TcpRailConfig& config_;
  const TcpRailOptions& options_;
  net::Poller& poller_;
  LaneOwner& owner_;

  State state_ = State::kIdle;
  UniqueFd fd_;
  unsigned attempts_ = 0;
  TimeNs began_ = 0;  // the first attempt
  TimeNs attempt_deadline_ = 0;
  TimeNs retry_at_ = 0;
  TimeNs now_ = 0;  // of the latest tick
  Hello hello_;
  Challenge challenge_;
  size_t challenge_bytes_ = 0;
  Status last_error_;
};

}  // namespace railccl::tcp
