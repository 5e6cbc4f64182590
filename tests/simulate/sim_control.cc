#include "tests/simulate/sim_control.h"

#include <algorithm>
#include <utility>

namespace railccl::simulate {

using boot::ConnectionEvents;
using boot::DownCause;

namespace {

constexpr TimeNs kTicksPerSilence = 12;
constexpr TimeNs kKeepAlivesPerSilence = 3;

std::pair<int, int> ordered(int a, int b) { return {std::min(a, b), std::max(a, b)}; }

}  // namespace

class SimConnections final : public boot::Connections {
 public:
  SimConnections(SimControlNet& net, int rank) : net_(net), rank_(rank) {}

  void want(int peer, ConnectionEvents& events) override;
  bool up(int peer) const override;
  std::vector<int> peers_up() const override;
  void send(int peer, uint16_t type, std::span<const std::byte> payload,
            ConnectionEvents& events) override;
  bool all_delivered() const override { return true; }
  void read_rest(int peer, ConnectionEvents& events) override;
  void drop(int peer, uint16_t type, std::span<const std::byte> last_words) override;
  bool progress(TimeNs now, ConnectionEvents& events) override;
  TimeNs next_deadline() const override;
  int wake_fd() const override { return -1; }
  TimeNs heard_at(int peer) const override;

 private:
  struct End {
    bool up = false;
    bool down = false;     // reported
    bool dropped = false;  // for good
    TimeNs wanted_at = 0;
    TimeNs heard_at = 0;
    TimeNs sent_at = 0;
    std::vector<SimControlNet::Item> backlog;  // until it is up
  };

  std::map<int, std::deque<SimControlNet::Item>>& incoming() const {
    return net_.queues_[static_cast<size_t>(rank_)];
  }
  void update_next_arrival();
  TimeNs silence() const { return net_.options_.silence_timeout_ns; }
  bool receive(int peer, bool everything, ConnectionEvents& events);
  void set_up(int peer, End& end, ConnectionEvents& events);
  void down(int peer, End& end, DownCause cause, const std::string& reason,
            ConnectionEvents& events);
  void transmit(int peer, End& end, SimControlNet::Item item);
  void check_times(ConnectionEvents& events);
  void forgive_own_pause(TimeNs now);

  SimControlNet& net_;
  int rank_;
  std::map<int, End> ends_;
  TimeNs now_ = 0;
  TimeNs next_tick_ = 0;
};

// --- The net -------------------------------------------------------------------------------------

SimControlNet::SimControlNet(SimNetwork& network, const SimControlOptions& options,
                             std::function<void(int rank, TimeNs at)> wake)
    : network_(network),
      options_(options),
      wake_(std::move(wake)),
      queues_(static_cast<size_t>(options.ranks)),
      next_arrival_(static_cast<size_t>(options.ranks), kNever),
      late_until_(static_cast<size_t>(options.ranks)),
      hosts_(static_cast<size_t>(options.ranks), Host::kRuns) {}

std::unique_ptr<boot::Connections> SimControlNet::connections(int rank) {
  return std::make_unique<SimConnections>(*this, rank);
}

void SimControlNet::delay(int rank, TimeNs until) {
  TimeNs& late = late_until_[static_cast<size_t>(rank)];
  late = std::max(late, until);
}

void SimControlNet::end_process(int rank) {
  for (const auto& [pair, connected] : connected_) {
    const int peer = pair.first == rank ? pair.second : pair.first;
    if (pair.first != rank && pair.second != rank) continue;
    send(rank, peer, {.kind = Kind::kClosed, .payload = {}});
  }
  hosts_[static_cast<size_t>(rank)] = Host::kEnded;
}

void SimControlNet::vanish(int rank) {
  hosts_[static_cast<size_t>(rank)] = Host::kVanished;
  for (auto& by_sender : queues_) {
    const auto found = by_sender.find(rank);
    if (found == by_sender.end()) continue;
    std::erase_if(found->second, [this](const Item& item) { return item.at > now(); });
  }
}

void SimControlNet::send(int from, int to, Item item) {
  if (hosts_[static_cast<size_t>(from)] != Host::kRuns) return;
  const TimeNs delay = options_.delay_ns;
  item.at = std::max(now(), late_until_[static_cast<size_t>(from)]) + delay +
            network_.random() % std::max<TimeNs>(delay, 1);
  queue(from, to, std::move(item));
}

void SimControlNet::queue(int from, int to, Item item) {
  std::deque<Item>& items = queues_[static_cast<size_t>(to)][from];
  if (!items.empty()) item.at = std::max(item.at, items.back().at);
  TimeNs& next = next_arrival_[static_cast<size_t>(to)];
  next = std::min(next, item.at);
  wake_(to, item.at);
  items.push_back(std::move(item));
}

// --- The connections of one rank -----------------------------------------------------------------

// The one who is dialled is up when the call arrives, the one who dials when the answer does. A
// dial that crosses another one is the same connection.
void SimConnections::want(int peer, ConnectionEvents& events) {
  if (ends_.contains(peer) || !events.address_of(peer)) return;
  End& end = ends_[peer];
  end.wanted_at = now_;
  switch (net_.hosts_[static_cast<size_t>(peer)]) {
    case SimControlNet::Host::kVanished:
      break;  // until the silence timeout
    case SimControlNet::Host::kEnded: {
      const TimeNs at = net_.now() + 2 * net_.options_.delay_ns;
      net_.queue(peer, rank_, {.at = at, .kind = SimControlNet::Kind::kRefused, .payload = {}});
      break;
    }
    case SimControlNet::Host::kRuns: {
      bool& connected = net_.connected_[ordered(rank_, peer)];
      if (std::exchange(connected, true)) break;
      net_.send(rank_, peer, {.kind = SimControlNet::Kind::kUp, .payload = {}});
    }
  }
}

bool SimConnections::up(int peer) const {
  const auto found = ends_.find(peer);
  return found != ends_.end() && found->second.up && !found->second.down && !found->second.dropped;
}

std::vector<int> SimConnections::peers_up() const {
  std::vector<int> peers;
  for (const auto& [peer, end] : ends_) {
    if (up(peer)) peers.push_back(peer);
  }
  return peers;
}

void SimConnections::send(int peer, uint16_t type, std::span<const std::byte> payload,
                          ConnectionEvents& events) {
  want(peer, events);
  const auto found = ends_.find(peer);
  if (found == ends_.end() || found->second.down || found->second.dropped) return;
  SimControlNet::Item item{.type = type, .payload = {payload.begin(), payload.end()}};
  if (found->second.up) {
    transmit(peer, found->second, std::move(item));
  } else {
    found->second.backlog.push_back(std::move(item));
  }
}

void SimConnections::transmit(int peer, End& end, SimControlNet::Item item) {
  end.sent_at = now_;
  net_.send(rank_, peer, std::move(item));
}

void SimConnections::set_up(int peer, End& end, ConnectionEvents& events) {
  if (end.up) return;
  end.up = true;
  end.heard_at = now_;
  // The answer, if this side was dialled; else it is a frame that shows that the caller is there.
  transmit(peer, end, {.kind = SimControlNet::Kind::kUp, .payload = {}});
  events.on_up(peer);
  for (SimControlNet::Item& item : std::exchange(end.backlog, {})) {
    transmit(peer, end, std::move(item));
  }
}

bool SimConnections::receive(int peer, bool everything, ConnectionEvents& events) {
  std::deque<SimControlNet::Item>& queue = incoming()[peer];
  bool any = false;
  while (!queue.empty() && queue.front().at <= now_) {
    const SimControlNet::Item item = std::move(queue.front());
    queue.pop_front();
    any = true;
    End& end = ends_[peer];
    if (end.dropped || (end.down && !everything)) continue;
    end.heard_at = now_;
    switch (item.kind) {
      case SimControlNet::Kind::kUp:
        set_up(peer, end, events);
        break;
      case SimControlNet::Kind::kFrame: {
        if (item.type == boot::kKeepAliveFrame) break;
        const Status fine = events.on_frame(peer, {.type = item.type, .payload = item.payload});
        if (!fine) down(peer, end, DownCause::kBadFrame, std::string(fine.message()), events);
        break;
      }
      case SimControlNet::Kind::kClosed:
        down(peer, end, DownCause::kClosed, "end of stream", events);
        break;
      case SimControlNet::Kind::kRefused:
        down(peer, end, DownCause::kRefused, "connection refused", events);
        break;
    }
  }
  return any;
}

void SimConnections::read_rest(int peer, ConnectionEvents& events) {
  if (ends_.contains(peer)) receive(peer, true, events);
}

void SimConnections::down(int peer, End& end, DownCause cause, const std::string& reason,
                          ConnectionEvents& events) {
  if (std::exchange(end.down, true)) return;
  events.on_down(peer, cause, reason);
}

void SimConnections::drop(int peer, uint16_t type, std::span<const std::byte> last_words) {
  const auto found = ends_.find(peer);
  if (found == ends_.end() || found->second.dropped) return;
  if (found->second.up) {
    net_.send(rank_, peer, {.type = type, .payload = {last_words.begin(), last_words.end()}});
    net_.send(rank_, peer, {.kind = SimControlNet::Kind::kClosed, .payload = {}});
  }
  found->second.dropped = true;
}

bool SimConnections::progress(TimeNs now, ConnectionEvents& events) {
  forgive_own_pause(now);
  now_ = now;
  bool any = false;
  if (now_ >= net_.next_arrival_[static_cast<size_t>(rank_)]) {
    for (const auto& [peer, queue] : incoming()) any |= receive(peer, false, events);
    update_next_arrival();
  }
  if (now_ >= next_tick_) check_times(events);
  return any;
}

// As TcpConnections: if this process was not driven for a while, that is not the others' silence.
void SimConnections::forgive_own_pause(TimeNs now) {
  const TimeNs pause = now - std::min(now, now_);
  if (pause < silence() / 2) return;
  for (auto& [peer, end] : ends_) {
    end.wanted_at += pause;
    if (end.heard_at != 0) end.heard_at += pause;
  }
}

void SimConnections::check_times(ConnectionEvents& events) {
  next_tick_ = now_ + silence() / kTicksPerSilence;
  std::vector<int> peers;
  for (const auto& [peer, end] : ends_) peers.push_back(peer);
  for (const int peer : peers) {
    End& end = ends_[peer];
    if (end.down || end.dropped) continue;
    const TimeNs since = end.up ? end.heard_at : end.wanted_at;
    if (now_ > since + silence()) {
      down(peer, end, DownCause::kSilent, end.up ? "" : "no connection to it came up", events);
    } else if (end.up && now_ >= end.sent_at + silence() / kKeepAlivesPerSilence) {
      transmit(peer, end, {.type = boot::kKeepAliveFrame, .payload = {}});
    }
  }
}

void SimConnections::update_next_arrival() {
  TimeNs next = kNever;
  for (const auto& [peer, queue] : incoming()) {
    if (!queue.empty()) next = std::min(next, queue.front().at);
  }
  net_.next_arrival_[static_cast<size_t>(rank_)] = next;
}

TimeNs SimConnections::next_deadline() const {
  const TimeNs arrival = net_.next_arrival_[static_cast<size_t>(rank_)];
  return ends_.empty() ? arrival : std::min(arrival, next_tick_);
}

TimeNs SimConnections::heard_at(int peer) const {
  const auto found = ends_.find(peer);
  return found == ends_.end() ? 0 : found->second.heard_at;
}

}  // namespace railccl::simulate
