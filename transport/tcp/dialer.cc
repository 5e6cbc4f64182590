#include "transport/tcp/dialer.h"

#include <algorithm>

#include "transport/tcp/socket.h"

namespace railccl::tcp {
namespace {

constexpr TimeNs kFirstPause = 20 * kMillisecond;
constexpr TimeNs kLongestPause = 500 * kMillisecond;
// How many attempts' time the rail's own NIC alone is tried: a port that has just come up may lose
// the first packets (an ARP request costs a second), and a connection by another NIC is for good.
constexpr int kOwnWayAttempts = 3;

TimeNs pause_after(unsigned attempts) {
  return std::min(kFirstPause << std::min(attempts - 1, 8U), kLongestPause);
}

}  // namespace

Dialer::Dialer(const Target& target, const TcpRailConfig& config, const TcpRailOptions& options,
               net::Poller& poller, LaneOwner& owner)
    : target_(target), config_(config), options_(options), poller_(poller), owner_(owner) {}

void Dialer::tick(TimeNs now) {
  now_ = now;
  if (state_ == State::kDone) return;
  if (state_ == State::kIdle) {
    if (now >= retry_at_) start(now);
    return;
  }
  if (now >= attempt_deadline_) {
    fail_attempt(error(Code::kTimeout, "no answer within {} ms",
                       options_.attempt_timeout_ns / kMillisecond));
  }
}

void Dialer::start(TimeNs now) {
  if (attempts_ == 0) began_ = now;
  ++attempts_;
  attempt_deadline_ = now + options_.attempt_timeout_ns;
  auto fd = start_connecting(config_, options_, target_.peer, keeps_to_device(now));
  if (!fd) return fail_attempt(fd.error());
  fd_ = std::move(*fd);
  state_ = State::kConnecting;
  if (Status added = poller_.add(fd_.get(), EPOLLOUT, *this); !added) fail_attempt(added);
}

// Routing to an own address needs no device. Where another NIC answers for the rail's address
// (several NICs in one subnet), only an unbound socket gets through: every second attempt, later.
bool Dialer::keeps_to_device(TimeNs now) const {
  if (!options_.bind_to_device || target_.peer.same_ip(config_.address)) return false;
  return now - began_ < kOwnWayAttempts * options_.attempt_timeout_ns || attempts_ % 2 == 1;
}

void Dialer::on_ready(uint32_t /*ready*/) {
  Status status;
  if (state_ == State::kConnecting) {
    status = say_hello();
  } else if (state_ == State::kAwaitingChallenge) {
    status = answer_challenge();
  }
  if (!status) fail_attempt(std::move(status));
}

Status Dialer::say_hello() {
  RAILCCL_TRY(pending_error(fd_.get()));
  tune_established(fd_.get(), options_);
  hello_ = Hello{.lane = static_cast<uint8_t>(target_.lane),
                 .acceptor_id = target_.peer_id,
                 .dialer_id = target_.self_id,
                 .nonce = random_nonce()};
  challenge_bytes_ = 0;
  RAILCCL_TRY(send_at_once(fd_.get(), &hello_, sizeof hello_));
  state_ = State::kAwaitingChallenge;
  return poller_.modify(fd_.get(), EPOLLIN, *this);
}

Status Dialer::answer_challenge() {
  RAILCCL_ASSIGN(const bool whole,
                 read_fully(fd_.get(), &challenge_, sizeof challenge_, challenge_bytes_));
  if (!whole) return Status::ok();
  if (!equal(challenge_.mac, acceptor_mac(target_.key, hello_, challenge_.nonce))) {
    return error(Code::kRailFailed, "who answered does not know the endpoints' secrets");
  }
  const Proof proof{.mac = dialer_mac(target_.key, hello_, challenge_.nonce)};
  RAILCCL_TRY(send_at_once(fd_.get(), &proof, sizeof proof));
  state_ = State::kDone;
  poller_.remove(fd_.get());
  owner_.on_lane_ready(target_.lane, std::move(fd_));
  return Status::ok();
}

void Dialer::fail_attempt(Status reason) {
  last_error_ = std::move(reason);
  drop_socket();
  state_ = State::kIdle;
  retry_at_ = now_ + pause_after(attempts_);
}

void Dialer::drop_socket() {
  if (fd_) poller_.remove(fd_.get());
  reset_and_close(fd_);
}

void Dialer::stop() {
  drop_socket();
  state_ = State::kDone;
}

}  // namespace railccl::tcp
