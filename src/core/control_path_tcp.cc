#include "src/core/control_path_tcp.h"

#include <algorithm>

namespace railccl::boot {
namespace {

constexpr int kReadsAtOnce = 16;  // then the other connections have their turn
constexpr int kReadsAtEnd = 4096;
constexpr TimeNs kRetryPause = 50 * kMillisecond;
constexpr TimeNs kHandshakeTimeout = 5 * kSecond;
constexpr int kTicksPerSilence = 12;
constexpr TimeNs kLongestTick = kSecond;  // attempts to connect have timeouts of their own
constexpr int kKeepAlivesPerSilence = 3;
const DoorLimits kDoorLimits{.guests = 64};

TimeNs tick_of(TimeNs silence_timeout) {
  return std::min(silence_timeout / kTicksPerSilence, kLongestTick);
}

}  // namespace

struct TcpConnections::Peer {
  int rank = 0;
  std::unique_ptr<Dialer> dialer;
  std::optional<FrameStream> stream;
  std::vector<std::byte> backlog;  // frames that wait for the connection
  bool down = false;               // reported; to be dropped
  bool write_watched = false;
  TimeNs wanted_at = 0;
  TimeNs retry_at = kNever;
  TimeNs heard_at = 0;
  TimeNs sent_at = 0;
  std::string last_problem;
};

Result<std::unique_ptr<TcpConnections>> TcpConnections::create(const ConnectionOptions& options,
                                                               UniqueFd listener, TimeNs now) {
  RAILCCL_ASSIGN(Poller poller, Poller::create());
  std::unique_ptr<TcpConnections> self(new TcpConnections(options, std::move(poller), now));
  self->door_ = std::make_unique<Doorkeeper>(std::move(listener), options.key,
                                             fmt::format("rank {}", options.rank), kDoorLimits,
                                             self->poller_);
  RAILCCL_TRY(self->door_->open());
  return self;
}

TcpConnections::TcpConnections(const ConnectionOptions& options, Poller poller, TimeNs now)
    : options_(options),
      poller_(std::move(poller)),
      now_(now),
      next_tick_(now + tick_of(options.silence_timeout_ns)) {}

TcpConnections::~TcpConnections() = default;

TcpConnections::Peer* TcpConnections::find(int peer) const {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? nullptr : found->second.get();
}

TcpConnections::Peer& TcpConnections::find_or_add(int rank) {
  auto& slot = peers_[rank];
  if (!slot) {
    slot = std::make_unique<Peer>();
    slot->rank = rank;
    slot->wanted_at = now_;
  }
  return *slot;
}

bool TcpConnections::up(int peer) const {
  const Peer* entry = find(peer);
  return entry != nullptr && entry->stream && !entry->down;
}

std::vector<int> TcpConnections::peers_up() const {
  std::vector<int> result;
  for (const auto& [rank, peer] : peers_) {
    if (peer->stream && !peer->down) result.push_back(rank);
  }
  return result;
}

size_t TcpConnections::queued_bytes(int peer) const {
  const Peer* entry = find(peer);
  if (entry == nullptr) return 0;
  return entry->backlog.size() + (entry->stream ? entry->stream->queued_bytes() : 0);
}

bool TcpConnections::all_delivered() const {
  return std::ranges::all_of(peers_, [](const auto& entry) {
    const Peer& peer = *entry.second;
    return peer.down || (peer.backlog.empty() && (!peer.stream || peer.stream->delivered()));
  });
}

TimeNs TcpConnections::heard_at(int peer) const {
  const Peer* entry = find(peer);
  return entry == nullptr ? 0 : entry->heard_at;
}

void TcpConnections::want(int rank, ConnectionEvents& events) {
  Peer* peer = find(rank);
  if (peer != nullptr && (peer->stream || peer->dialer || peer->down || peer->retry_at != kNever)) {
    return;
  }
  if (!events.address_of(rank)) return;
  dial(find_or_add(rank), events);
}

void TcpConnections::dial(Peer& peer, ConnectionEvents& events) {
  const auto address = events.address_of(peer.rank);
  if (!address) return;
  peer.retry_at = kNever;
  const Hello who{.purpose = Purpose::kPeer,
                  .from = static_cast<uint32_t>(options_.rank),
                  .to = static_cast<uint32_t>(peer.rank),
                  .ranks = static_cast<uint32_t>(options_.ranks)};
  const TimeNs deadline = now_ + std::min(options_.silence_timeout_ns, kHandshakeTimeout);
  peer.dialer = std::make_unique<Dialer>(*address, options_.key, who, deadline, poller_);
  by_fd_[peer.dialer->fd()] = peer.rank;
  // A dial that failed at once is seen to from progress(), like every other end of it.
  if (peer.dialer->state() != Dialer::State::kPending) next_retry_ = now_;
}

void TcpConnections::step_dialer(Peer& peer, ConnectionEvents& events) {
  const int fd = peer.dialer->fd();
  const Dialer::State state = peer.dialer->step(now_);
  if (state == Dialer::State::kPending) return;
  by_fd_.erase(fd);
  const std::unique_ptr<Dialer> dialer = std::move(peer.dialer);
  if (state == Dialer::State::kConnected) return set_up(peer, dialer->take_stream(), events);
  peer.last_problem = dialer->status().message();
  if (state == Dialer::State::kRefused) {
    return down(peer, DownCause::kRefused, peer.last_problem, events);
  }
  peer.retry_at = now_ + kRetryPause;
  next_retry_ = std::min(next_retry_, peer.retry_at);
}

void TcpConnections::set_up(Peer& peer, FrameStream stream, ConnectionEvents& events) {
  if (peer.dialer) by_fd_.erase(peer.dialer->fd());
  peer.dialer.reset();
  peer.retry_at = kNever;
  peer.heard_at = peer.sent_at = now_;
  by_fd_[stream.fd()] = peer.rank;
  peer.stream.emplace(std::move(stream));
  if (const Status watched = poller_.watch(peer.stream->fd(), false); !watched) {
    return down(peer, DownCause::kClosed, std::string(watched.message()), events);
  }
  events.on_up(peer.rank);
  peer.stream->queue_raw(peer.backlog);
  peer.backlog = {};
  flush(peer, events);
  receive(peer, events);  // frames may have come right behind the handshake
}

Verdict TcpConnections::on_proven(const Hello& hello) {
  const auto self = static_cast<uint32_t>(options_.rank);
  const auto ranks = static_cast<uint32_t>(options_.ranks);
  if (hello.purpose != Purpose::kPeer || hello.to != self || hello.ranks != ranks ||
      hello.from >= ranks || hello.from == self) {
    return Verdict::kWrongPlace;
  }
  const Peer* peer = find(static_cast<int>(hello.from));
  if (peer == nullptr) return Verdict::kAccepted;
  const bool mine_counts = peer->dialer != nullptr && self < hello.from;
  return peer->stream || peer->down || mine_counts ? Verdict::kYield : Verdict::kAccepted;
}

void TcpConnections::on_admitted(const Hello& hello, FrameStream stream, TimeNs) {
  admitted_.emplace_back(static_cast<int>(hello.from), std::move(stream));
}

void TcpConnections::send(int rank, uint16_t type, std::span<const std::byte> payload,
                          ConnectionEvents& events) {
  want(rank, events);
  Peer& peer = find_or_add(rank);
  if (peer.down) return;
  if (!peer.stream) {
    append_frame(peer.backlog, type, payload);
  } else {
    peer.stream->queue_frame(type, payload);
    flush(peer, events);
  }
  if (!peer.down && queued_bytes(rank) > options_.max_queued_bytes) {
    down(peer, DownCause::kStalled,
         fmt::format("{} bytes wait for it and it does not take them in", queued_bytes(rank)),
         events);
  }
}

void TcpConnections::flush(Peer& peer, ConnectionEvents& events) {
  if (peer.down) return;
  if (peer.stream->queued_bytes() > 0) peer.sent_at = now_;
  const Status sent = peer.stream->flush();
  if (!sent) {
    // What the peer said before it went is still worth reading; then its end is found.
    return;
  }
  const bool write = peer.stream->queued_bytes() > 0;
  if (write == peer.write_watched) return;
  peer.write_watched = write;
  if (const Status watched = poller_.watch(peer.stream->fd(), write); !watched) {
    down(peer, DownCause::kClosed, std::string(watched.message()), events);
  }
}

void TcpConnections::receive(Peer& peer, ConnectionEvents& events) {
  for (int i = 0; i < kReadsAtOnce && !peer.down; ++i) {
    const Result<bool> read = peer.stream->read_some();
    if (read && *read) peer.heard_at = now_;
    for (;;) {
      const auto frame = peer.stream->next_frame();
      if (!frame)
        return down(peer, DownCause::kBadFrame, std::string(frame.error().message()), events);
      if (!*frame) break;
      if ((*frame)->type == kKeepAliveFrame) continue;
      if (const Status fine = events.on_frame(peer.rank, **frame); !fine) {
        return down(peer, DownCause::kBadFrame, std::string(fine.message()), events);
      }
    }
    if (!read) return down(peer, DownCause::kClosed, std::string(read.error().message()), events);
    if (!*read) return;
  }
}

void TcpConnections::read_rest(int rank, ConnectionEvents& events) {
  Peer* peer = find(rank);
  if (peer == nullptr || !peer->stream) return;
  for (int i = 0; i < kReadsAtEnd; ++i) {
    const Result<bool> read = peer->stream->read_some();
    if (!read || !*read) return;
    for (;;) {
      const auto frame = peer->stream->next_frame();
      if (!frame) return;
      if (!*frame) break;
      if ((*frame)->type != kKeepAliveFrame && !events.on_frame(rank, **frame)) return;
    }
  }
}

void TcpConnections::down(Peer& peer, DownCause cause, const std::string& reason,
                          ConnectionEvents& events) {
  if (peer.down) return;
  peer.down = true;
  if (peer.stream) poller_.forget(peer.stream->fd());
  events.on_down(peer.rank, cause, reason);
}

void TcpConnections::drop(int rank, uint16_t type, std::span<const std::byte> last_words) {
  Peer* peer = find(rank);
  if (peer == nullptr) return;
  if (peer->dialer) by_fd_.erase(peer->dialer->fd());
  if (peer->stream) {
    peer->stream->queue_frame(type, last_words);
    (void)peer->stream->flush();
    poller_.forget(peer->stream->fd());
    by_fd_.erase(peer->stream->fd());
  }
  peers_.erase(rank);
}

void TcpConnections::handle(int fd, ConnectionEvents& events) {
  if (door_->handle(fd, now_, *this)) {
    for (auto& [rank, stream] : std::exchange(admitted_, {})) {
      set_up(find_or_add(rank), std::move(stream), events);
    }
    return;
  }
  const auto found = by_fd_.find(fd);
  if (found == by_fd_.end()) return;
  Peer& peer = *find(found->second);
  if (peer.dialer && peer.dialer->fd() == fd) return step_dialer(peer, events);
  if (!peer.stream || peer.down) return;
  flush(peer, events);
  if (!peer.down) receive(peer, events);
}

bool TcpConnections::progress(TimeNs now, ConnectionEvents& events) {
  forgive_own_pause(now);
  now_ = now;
  const std::span<const int> ready = poller_.ready(0);
  for (const int fd : ready) handle(fd, events);
  const bool due = now >= next_deadline();
  if (due) check_times(events);
  return due || !ready.empty();
}

// If this process was not driven for a while, that is not the others' silence.
void TcpConnections::forgive_own_pause(TimeNs now) {
  const TimeNs pause = now - std::min(now, now_);
  if (pause < options_.silence_timeout_ns / 2) return;
  for (auto& [rank, peer] : peers_) {
    peer->wanted_at += pause;
    if (peer->heard_at != 0) peer->heard_at += pause;
  }
}

void TcpConnections::check_times(ConnectionEvents& events) {
  door_->tick(now_);
  const bool tick = now_ >= next_tick_;
  if (tick) next_tick_ = now_ + tick_of(options_.silence_timeout_ns);
  next_retry_ = kNever;
  std::vector<Peer*> all;
  for (const auto& [rank, peer] : peers_) all.push_back(peer.get());
  for (Peer* peer : all) check_peer(*peer, tick, events);
}

void TcpConnections::check_peer(Peer& peer, bool tick, ConnectionEvents& events) {
  if (peer.down) return;
  if (peer.dialer && (tick || peer.dialer->state() != Dialer::State::kPending)) {
    step_dialer(peer, events);
  }
  if (peer.retry_at != kNever && now_ >= peer.retry_at && !peer.down) dial(peer, events);
  next_retry_ = std::min(next_retry_, peer.retry_at);
  if (!tick || peer.down) return;
  const TimeNs silence = options_.silence_timeout_ns;
  if (!peer.stream) {
    if (now_ > peer.wanted_at + silence && (peer.dialer || peer.retry_at != kNever)) {
      down(peer, DownCause::kSilent,
           fmt::format("no connection to it came up ({})", peer.last_problem), events);
    }
    return;
  }
  if (now_ > peer.heard_at + silence) {
    return down(peer, DownCause::kSilent, "", events);
  }
  if (now_ >= peer.sent_at + silence / kKeepAlivesPerSilence) {
    peer.stream->queue_frame(kKeepAliveFrame, {});
    flush(peer, events);
  }
}

TimeNs TcpConnections::next_deadline() const {
  return std::min({next_tick_, next_retry_, door_->next_deadline()});
}

}  // namespace railccl::boot
