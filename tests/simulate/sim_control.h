// Connections between all ranks of a run, on its virtual clock, for the library's own control path
// (src/core/control_path_tree.h): handshakes and frames take their time, processes end, hosts
// vanish, silence is noticed. A seed decides all delays.
//
// As over TCP: frames of a pair are in order; the end of a process is seen behind its last frames;
// a host that vanishes says nothing, not even that; nobody can connect to a process that has ended.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "src/core/control_path_connections.h"
#include "transport/sim/sim_network.h"

namespace railccl::simulate {

struct SimControlOptions {
  int ranks = 2;
  TimeNs delay_ns = 100 * kMicrosecond;  // of a frame, at least; less than twice as long
  TimeNs silence_timeout_ns = kSecond;
};

class SimControlNet {
 public:
  // `wake`: the connections of a rank want progress at that time.
  SimControlNet(SimNetwork& network, const SimControlOptions& options,
                std::function<void(int rank, TimeNs at)> wake);

  // Of one rank, once; the net outlives them.
  std::unique_ptr<boot::Connections> connections(int rank);

  // What the rank sends arrives only after `until`.
  void delay(int rank, TimeNs until);
  // Its process ends: its connections are closed.
  void end_process(int rank);
  // Its host is gone: nobody hears of it again.
  void vanish(int rank);

 private:
  friend class SimConnections;
  enum class Kind : uint8_t { kUp, kFrame, kClosed, kRefused };
  struct Item {
    TimeNs at = 0;
    Kind kind = Kind::kFrame;
    uint16_t type = 0;
    std::vector<std::byte> payload;
  };
  enum class Host : uint8_t { kRuns, kEnded, kVanished };

  void send(int from, int to, Item item);
  TimeNs now() const { return network_.now(); }
  void queue(int from, int to, Item item);

  SimNetwork& network_;
  SimControlOptions options_;
  std::function<void(int rank, TimeNs at)> wake_;
  std::vector<std::map<int, std::deque<Item>>> queues_;  // by receiver, then by sender
  std::vector<TimeNs> next_arrival_;                     // by receiver, of all its queues
  std::vector<TimeNs> late_until_;
  std::vector<Host> hosts_;
  std::map<std::pair<int, int>, bool> connected_;  // pairs (smaller, larger) that were connected
};

}  // namespace railccl::simulate
