// What a control path needs of connections to other ranks: they are made, answered and kept alive,
// and it is noticed who is gone. Knows nothing of trees or floods; what happens goes to the events.
//
// One thread at a time; never blocks. Events come only from progress() and read_rest(); inside them
// send() and want() may be called, but not drop().
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/core/framing.h"
#include "src/core/handshake.h"
#include "src/core/net_address.h"

namespace railccl::boot {

// Frames of this type are not reported: they only show that the sender is there.
constexpr uint16_t kKeepAliveFrame = 0;

enum class DownCause : uint8_t {
  kClosed,   // end of stream or reset
  kRefused,  // nobody listens at its address
  kSilent,   // nothing heard for the silence timeout
  kStalled,  // it does not take in what is sent to it
  kBadFrame,
};

class ConnectionEvents {
 public:
  virtual ~ConnectionEvents() = default;
  virtual void on_up(int peer) = 0;
  // An error: the frame is malformed; the connection is down then.
  virtual Status on_frame(int peer, const Frame& frame) = 0;
  // At most once per connection or attempt; drop() follows.
  virtual void on_down(int peer, DownCause cause, const std::string& reason) = 0;
  // Where to dial a rank; nothing while that is not known.
  virtual std::optional<SocketAddress> address_of(int peer) = 0;
};

struct ConnectionOptions {
  int rank = 0;
  int ranks = 1;
  Key key{};
  TimeNs silence_timeout_ns = 10 * kSecond;
  size_t max_queued_bytes = size_t{16} << 20;  // per peer; more: it has stalled
};

class Connections {
 public:
  virtual ~Connections() = default;

  // Dials `peer` unless it is connected or being dialed, or its address is not known.
  virtual void want(int peer, ConnectionEvents& events) = 0;
  virtual bool up(int peer) const = 0;
  virtual std::vector<int> peers_up() const = 0;
  // Queued and sent as far as it goes; before the connection is up it waits.
  virtual void send(int peer, uint16_t type, std::span<const std::byte> payload,
                    ConnectionEvents& events) = 0;
  // All that was sent has reached its host, or the connection is down.
  virtual bool all_delivered() const = 0;
  // Delivers what has arrived from `peer` and was not read yet.
  virtual void read_rest(int peer, ConnectionEvents& events) = 0;
  // Ends the connection or the attempt; `last_words`, a frame of `type`, go out before if they can,
  // also to a peer that is down (a stopped process reads them when it goes on).
  virtual void drop(int peer, uint16_t type, std::span<const std::byte> last_words) = 0;

  virtual bool progress(TimeNs now, ConnectionEvents& events) = 0;
  virtual TimeNs next_deadline() const = 0;
  virtual int wake_fd() const = 0;              // readable: progress() has something to do
  virtual TimeNs heard_at(int peer) const = 0;  // 0: never
};

}  // namespace railccl::boot
