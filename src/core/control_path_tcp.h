// The authenticated TCP connections of one rank to other ranks: dials, answers the door, keeps
// alive, notices who is gone.
//
// When two ranks dial each other at once, the smaller rank's connection is the one that counts:
// the smaller answers the other's with kYield, the larger takes the smaller's and drops its own.
//
// Threading as Connections.
#pragma once

#include <memory>
#include <unordered_map>
#include <utility>

#include "src/base/unique_fd.h"
#include "src/core/control_path_connections.h"
#include "src/core/dialer.h"
#include "src/core/doorkeeper.h"
#include "src/core/poller.h"

namespace railccl::boot {

class TcpConnections final : public Connections, private Host {
 public:
  static Result<std::unique_ptr<TcpConnections>> create(const ConnectionOptions& options,
                                                        UniqueFd listener, TimeNs now);
  ~TcpConnections() override;

  void want(int peer, ConnectionEvents& events) override;
  bool up(int peer) const override;
  std::vector<int> peers_up() const override;
  void send(int peer, uint16_t type, std::span<const std::byte> payload,
            ConnectionEvents& events) override;
  bool all_delivered() const override;
  void read_rest(int peer, ConnectionEvents& events) override;
  void drop(int peer, uint16_t type, std::span<const std::byte> last_words) override;
  bool progress(TimeNs now, ConnectionEvents& events) override;
  TimeNs next_deadline() const override;
  int wake_fd() const override { return poller_.fd(); }
  TimeNs heard_at(int peer) const override;
  size_t queued_bytes(int peer) const;

 private:
  struct Peer;

  TcpConnections(const ConnectionOptions& options, Poller poller, TimeNs now);

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
