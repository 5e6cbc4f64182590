// The authenticated TCP connections of one rank to other ranks: dials, answers the door, keeps
// alive, notices who is gone. Knows nothing of trees or floods; what happens goes to the events.
//
// When two ranks dial each other at once, the smaller rank's connection is the one that counts:
// the smaller answers the other's with kYield, the larger takes the smaller's and drops its own.
//
// One thread at a time; never blocks. Events come only from progress() and read_rest(); inside them
// send() and want() may be called, but not drop().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/base/clock.h"
#include "src/core/dialer.h"
#include "src/core/doorkeeper.h"
#include "src/core/framing.h"
#include "src/core/handshake.h"
#include "src/core/net_address.h"
#include "src/core/poller.h"

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

class Connections final : private Host {
 public:
  static Result<std::unique_ptr<Connections>> create(const ConnectionOptions& options,
                                                     UniqueFd listener, TimeNs now);
  ~Connections() override;

  // Dials `peer` unless it is connected or being dialed, or its address is not known.
  void want(int peer, ConnectionEvents& events);
  bool up(int peer) const;
  std::vector<int> peers_up() const;
  // Queued and sent as far as it goes; before the connection is up it waits.
  void send(int peer, uint16_t type, std::span<const std::byte> payload, ConnectionEvents& events);
  size_t queued_bytes(int peer) const;
  bool all_sent() const;
  // Delivers what has arrived from `peer` and was not read yet.
  void read_rest(int peer, ConnectionEvents& events);
  // Ends the connection or the attempt; `last_words`, a frame of `type`, go out before if they can,
  // also to a peer that is down (a stopped process reads them when it goes on).
  void drop(int peer, uint16_t type, std::span<const std::byte> last_words);

  bool progress(TimeNs now, ConnectionEvents& events);
  TimeNs next_deadline() const;
  int wake_fd() const { return poller_.fd(); }
  TimeNs heard_at(int peer) const;  // 0: never

 private:
  struct Peer;

  Connections(const ConnectionOptions& options, Poller poller, TimeNs now);

  Verdict on_proven(const Hello& hello) override;
  void on_admitted(const Hello& hello, FrameStream stream, TimeNs now) override;

  Peer* find(int peer) const;
  Peer& find_or_add(int peer);
  void dial(Peer& peer, ConnectionEvents& events);
  void step_dialer(Peer& peer, ConnectionEvents& events);
  void set_up(Peer& peer, FrameStream stream, ConnectionEvents& events);
  void receive(Peer& peer, ConnectionEvents& events);
  void flush(Peer& peer, ConnectionEvents& events);
  void down(Peer& peer, DownCause cause, const std::string& reason, ConnectionEvents& events);
  void handle(int fd, ConnectionEvents& events);
  void forgive_own_pause(TimeNs now);
  void check_times(ConnectionEvents& events);
  void check_peer(Peer& peer, bool tick, ConnectionEvents& events);

  ConnectionOptions options_;
  Poller poller_;
  std::unique_ptr<Doorkeeper> door_;
  std::unordered_map<int, std::unique_ptr<Peer>> peers_;
  std::unordered_map<int, int> by_fd_;
  std::vector<std::pair<int, FrameStream>> admitted_;
  TimeNs now_;
  TimeNs next_tick_;
  TimeNs next_retry_ = kNever;
};

}  // namespace railccl::boot
