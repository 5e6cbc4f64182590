// One socket of a connected endpoint with both its directions: what the poller calls, and how the
// poller's interest follows from what waits to be sent. Owned by the endpoint; the rail's thread.
#pragma once

#include <string_view>

#include "src/base/unique_fd.h"
#include "transport/net/poller.h"
#include "transport/tcp/rail_core.h"
#include "transport/tcp/receive_lane.h"
#include "transport/tcp/send_lane.h"

namespace railccl::tcp {

// The endpoint, as its lanes see it.
class LaneHost : public FrameHandler {
 public:
  // True when something had come.
  virtual bool on_lane_readable(LaneId lane) = 0;
  virtual void on_lane_writable(LaneId lane) = 0;
};

class TcpLane final : public net::Pollable {
 public:
  TcpLane(LaneId id, const SendLane::Limits& limits, LaneHost& host, RailCore& core)
      : id_(id), send_(limits), receive_(id), host_(host), core_(core) {}
  ~TcpLane() override { close(); }
  TcpLane(const TcpLane&) = delete;
  TcpLane& operator=(const TcpLane&) = delete;

  // The socket is not read before watch().
  void adopt(UniqueFd fd) { fd_ = std::move(fd); }
  Status watch();
  bool is_open() const { return static_cast<bool>(fd_); }
  // Tells the peer why the connection is about to end, if that can be done at once.
  void say_farewell(std::string_view reason);
  // Resets the connection: nothing is sent or received any more.
  void close();

  SendLane& outgoing() { return send_; }
  const ReceiveLane& incoming() const { return receive_; }
  bool is_bulk() const override { return id_ == LaneId::kBulk; }
  // The socket is full; on_lane_writable comes when it is not.
  bool is_blocked() const { return blocked_; }

  // True: there is more to send, and the socket may take it.
  Result<bool> flush(size_t budget_bytes);
  Result<ReceiveLane::Outcome> receive(std::span<std::byte> staging, size_t budget_bytes);

  // Takes what has come, without having been told that anything has.
  bool try_receive() { return is_open() && host_.on_lane_readable(id_); }
  void on_ready(uint32_t ready) override;

 private:
  Status set_write_interest(bool wanted);

  const LaneId id_;
  UniqueFd fd_;
  bool watched_ = false;
  bool write_interest_ = false;
  bool blocked_ = false;
  SendLane send_;
  ReceiveLane receive_;
  LaneHost& host_;
  RailCore& core_;
};

}  // namespace railccl::tcp
