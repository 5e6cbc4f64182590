#include "transport/tcp/acceptor.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "transport/tcp/socket.h"

namespace railccl::tcp {
namespace {

constexpr int kAcceptsPerCall = 16;
constexpr size_t kMaxPerLane = 4;  // connections that name the same endpoint and lane

}  // namespace

// One connection that has not proved itself yet.
class Acceptor::Incoming final : public net::Pollable {
 public:
  Incoming(Acceptor& acceptor, UniqueFd fd, std::string peer_text)
      : acceptor_(acceptor), fd_(std::move(fd)), peer_text_(std::move(peer_text)) {}
  ~Incoming() override { drop(); }

  bool ended() const { return state_ == State::kEnded; }
  bool is_stranger() const { return state_ == State::kAwaitingHello; }
  bool names(uint64_t endpoint_id) const {
    return (state_ == State::kHeld || state_ == State::kAwaitingProof) &&
           hello_.acceptor_id == endpoint_id;
  }
  bool names_lane_of(const Incoming& other) const {
    return names(other.hello_.acceptor_id) && hello_.lane == other.hello_.lane;
  }
  const std::string& peer_text() const { return peer_text_; }
  int fd() const { return fd_.get(); }

  void on_ready(uint32_t /*ready*/) override {
    Status status;
    if (state_ == State::kAwaitingHello) {
      status = read_hello();
    } else if (state_ == State::kHeld) {
      // Nothing may come before the challenge: it is the end of the connection, or garbage.
      status = error(Code::kRailFailed, "it ended, or spoke, before its turn");
    } else if (state_ == State::kAwaitingProof) {
      status = read_proof();
    }
    if (!status) refuse(status.message());
  }

  void consider() {
    const Expectation expected = acceptor_.host_.expectation(hello_.acceptor_id);
    if (expected.state == Expectation::State::kLater) {
      state_ = State::kHeld;
      return;
    }
    if (expected.state == Expectation::State::kUnknown || expected.peer_id != hello_.dialer_id) {
      return refuse("it names no endpoint that waits for it");
    }
    key_ = expected.key;
    nonce_ = random_nonce();
    const Challenge challenge{.nonce = nonce_, .mac = acceptor_mac(key_, hello_, nonce_)};
    state_ = State::kAwaitingProof;
    if (Status sent = send_at_once(fd_.get(), &challenge, sizeof challenge); !sent) {
      refuse(sent.message());
    }
  }

  void tick(TimeNs now, TimeNs timeout) {
    if (deadline_ == 0) deadline_ = now + timeout;
    if (!ended() && now >= deadline_) refuse("it did not prove itself in time");
  }

  void refuse(std::string_view reason) {
    if (ended()) return;
    drop();
    acceptor_.report_stranger(*this, reason);
  }

  void drop() {
    if (fd_) acceptor_.poller_.remove(fd_.get());
    reset_and_close(fd_);
    state_ = State::kEnded;
  }

 private:
  enum class State : uint8_t { kAwaitingHello, kHeld, kAwaitingProof, kEnded };

  Status read_hello() {
    RAILCCL_ASSIGN(const bool whole, read_fully(fd_.get(), &hello_, sizeof hello_, bytes_));
    if (!whole) return Status::ok();
    if (!well_formed(hello_)) {
      return error(Code::kRailFailed, "its first bytes are no rail's greeting");
    }
    bytes_ = 0;
    acceptor_.make_room_on_lane(*this);
    consider();
    return Status::ok();
  }

  Status read_proof() {
    RAILCCL_ASSIGN(const bool whole, read_fully(fd_.get(), &proof_, sizeof proof_, bytes_));
    if (!whole) return Status::ok();
    if (!equal(proof_.mac, dialer_mac(key_, hello_, nonce_))) {
      return error(Code::kRailFailed, "it does not know the endpoints' secrets");
    }
    acceptor_.poller_.remove(fd_.get());
    state_ = State::kEnded;
    tune_established(fd_.get(), acceptor_.options_);
    acceptor_.host_.on_accepted(hello_.acceptor_id, static_cast<LaneId>(hello_.lane),
                                std::move(fd_));
    return Status::ok();
  }

  Acceptor& acceptor_;
  UniqueFd fd_;
  const std::string peer_text_;
  State state_ = State::kAwaitingHello;
  TimeNs deadline_ = 0;  // set by the first tick
  size_t bytes_ = 0;     // of the message being read
  Hello hello_;
  Nonce nonce_{};
  SessionKey key_{};
  Proof proof_;
};

class Acceptor::Listener final : public net::Pollable {
 public:
  Listener(Acceptor& acceptor, UniqueFd fd, bool by_device)
      : acceptor_(acceptor), fd_(std::move(fd)), by_device_(by_device) {}
  ~Listener() override { unwatch(); }

  Status watch() { return acceptor_.poller_.add(fd_.get(), EPOLLIN, *this); }
  int fd() const { return fd_.get(); }
  void unwatch() { acceptor_.poller_.remove(fd_.get()); }

  void on_ready(uint32_t /*ready*/) override {
    for (int i = 0; i < kAcceptsPerCall; ++i) {
      sockaddr_storage storage{};
      socklen_t size = sizeof storage;
      UniqueFd fd(accept4(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) acceptor_.pause_listening(errno);
        return;
      }
      const auto peer = net::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
      if (peer) acceptor_.admit(std::move(fd), *peer, by_device_);
    }
  }

 private:
  Acceptor& acceptor_;
  UniqueFd fd_;
  const bool by_device_;
};

Acceptor::Acceptor(const TcpRailConfig& config, const TcpRailOptions& options, net::Poller& poller,
                   AcceptorHost& host)
    : config_(config), options_(options), poller_(poller), host_(host) {}

Acceptor::~Acceptor() = default;

Result<std::unique_ptr<Acceptor>> Acceptor::open(const TcpRailConfig& config,
                                                 const TcpRailOptions& options, net::Poller& poller,
                                                 AcceptorHost& host) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor(config, options, poller, host));
  if (Status status = acceptor->listen(); !status) {
    return Error(status.with_context(fmt::format("rail {}", config.info.name)));
  }
  return acceptor;
}

Status Acceptor::listen() {
  address_ = config_.address.with_port(0);
  if (options_.bind_to_device) {
    auto fd = open_listener(options_, address_, config_.interface_name);
    if (fd) {
      RAILCCL_ASSIGN(address_, local_address(fd->get()));
      listeners_.push_back(std::make_unique<Listener>(*this, std::move(*fd), true));
    } else {
      host_.warn_once("bind",
                      fmt::format("rail {}: its sockets cannot be bound to the device ({}); "
                                  "where several NICs are in one subnet, routing may send "
                                  "all traffic by one of them",
                                  config_.info.name, fd.error().message()));
    }
  }
  RAILCCL_ASSIGN(UniqueFd fd, open_listener(options_, address_, ""));
  RAILCCL_ASSIGN(address_, local_address(fd.get()));
  listeners_.push_back(std::make_unique<Listener>(*this, std::move(fd), false));
  for (auto& listener : listeners_) {
    stop_sharing_port(listener->fd());
    RAILCCL_TRY(listener->watch());
  }
  return Status::ok();
}

void Acceptor::pause_listening(int error_number) {
  for (auto& listener : listeners_) listener->unwatch();
  paused_ = true;
  host_.warn_once("accept", fmt::format("rail {}: cannot accept connections, will try again: {}",
                                        config_.info.name,
                                        Status(system_error(error_number, "accept")).message()));
}

void Acceptor::admit(UniqueFd fd, const net::SocketAddress& peer, bool by_device) {
  make_room();
  const bool may_stray = options_.bind_to_device && !by_device;
  if (may_stray && !peer.same_ip(config_.address)) {
    host_.warn_once("device",
                    fmt::format("rail {}: a connection from {} came in by another way than {}. "
                                "Where several NICs are in one subnet, set "
                                "net.ipv4.conf.all.arp_ignore=1 and arp_announce=2 on every node",
                                config_.info.name, peer.to_string(), config_.interface_name));
  }
  auto incoming = std::make_unique<Incoming>(*this, std::move(fd), peer.to_string());
  if (poller_.add(incoming->fd(), EPOLLIN, *incoming)) incoming_.push_back(std::move(incoming));
}

void Acceptor::make_room() {
  const auto stranger = [](const auto& one) { return one->is_stranger(); };
  const auto strangers = std::count_if(incoming_.begin(), incoming_.end(), stranger);
  if (static_cast<size_t>(strangers) < options_.max_strangers) return;
  const auto oldest = std::find_if(incoming_.begin(), incoming_.end(), stranger);
  if (oldest != incoming_.end()) (*oldest)->refuse("too many unproven connections wait");
}

// Of many that name the same lane of an endpoint, the newest count: the dialer gave up the others.
void Acceptor::make_room_on_lane(const Incoming& newest) {
  const auto same = [&](const auto& one) { return one->names_lane_of(newest); };
  if (static_cast<size_t>(std::count_if(incoming_.begin(), incoming_.end(), same)) < kMaxPerLane) {
    return;
  }
  (*std::find_if(incoming_.begin(), incoming_.end(), same))->drop();
}

void Acceptor::reconsider(uint64_t endpoint_id) {
  for (auto& incoming : incoming_) {
    if (incoming->names(endpoint_id)) incoming->consider();
  }
}

void Acceptor::tick(TimeNs now) {
  if (std::exchange(paused_, false)) {
    for (auto& listener : listeners_) {
      if (!listener->watch()) paused_ = true;
    }
  }
  for (auto& incoming : incoming_) incoming->tick(now, options_.stranger_timeout_ns);
  sweep();
}

void Acceptor::sweep() {
  std::erase_if(incoming_, [](auto& one) { return one->ended(); });
}

void Acceptor::report_stranger(const Incoming& incoming, std::string_view reason) {
  host_.warn_once("stranger", fmt::format("rail {}: dropped a connection from {}: {} (further ones "
                                          "are dropped without a word)",
                                          config_.info.name, incoming.peer_text(), reason));
}

}  // namespace railccl::tcp
