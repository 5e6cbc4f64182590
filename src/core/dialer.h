// One attempt to reach one address and to prove, both ways, that the key is known. The owner calls
// step() when the descriptor is ready and gives up at the deadline. One thread at a time; never
// blocks.
#pragma once

#include <memory>
#include <optional>

#include "src/base/clock.h"
#include "src/core/framing.h"
#include "src/core/handshake.h"
#include "src/core/net_address.h"
#include "src/core/poller.h"

namespace railccl::boot {

class Dialer {
 public:
  enum class State : uint8_t {
    kPending,
    kConnected,  // take the stream
    kYield,      // the other side's own connection is the one that counts
    kRefused,    // nobody listens there
    kFailed,     // for another reason: status()
  };

  // `poller` outlives the object. `who` as in ConnectorHandshake.
  Dialer(const SocketAddress& address, const Key& key, const Hello& who, TimeNs deadline,
         Poller& poller);
  ~Dialer();
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  State step(TimeNs now);
  State state() const { return state_; }
  // What happened, with the address.
  const Status& status() const { return status_; }
  int fd() const { return stream_ ? stream_->fd() : -1; }
  TimeNs deadline() const { return deadline_; }
  // After kConnected; it is no longer watched.
  FrameStream take_stream();

 private:
  void fail(State state, std::string_view reason);
  void fail_with(int problem);  // errno
  void shake_hands();

  SocketAddress address_;
  ConnectorHandshake handshake_;
  TimeNs deadline_;
  Poller& poller_;
  std::optional<FrameStream> stream_;
  bool connected_ = false;
  State state_ = State::kPending;
  Status status_;
};

}  // namespace railccl::boot
