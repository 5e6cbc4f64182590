#include "src/core/doorkeeper.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/log.h"
#include "src/core/net_address.h"

namespace railccl::boot {
namespace {

constexpr int kAcceptsAtOnce = 64;  // then those inside have their turn
constexpr TimeNs kNoDescriptorsPause = 50 * kMillisecond;

}  // namespace

Doorkeeper::Doorkeeper(UniqueFd listener, const Key& key, std::string name,
                       const DoorLimits& limits, Poller& poller)
    : listener_(std::move(listener)),
      key_(key),
      name_(std::move(name)),
      limits_(limits),
      poller_(poller) {}

Doorkeeper::~Doorkeeper() {
  close_listener();
  for (auto& [order, guest] : guests_) poller_.forget(guest.stream.fd());
}

Status Doorkeeper::open() { return poller_.watch(listener_.get(), false); }

void Doorkeeper::close_listener() {
  if (!listener_) return;
  poller_.forget(listener_.get());
  listener_.reset();
  paused_until_ = 0;
}

bool Doorkeeper::handle(int fd, TimeNs now, Host& host) {
  if (listener_ && fd == listener_.get()) {
    accept_some(now);
    return true;
  }
  const auto found = by_fd_.find(fd);
  if (found == by_fd_.end()) return false;
  step(guests_.find(found->second), now, host);
  return true;
}

// All places are taken by guests whose time is not up.
bool Doorkeeper::full(TimeNs now) const {
  return guests_.size() >= limits_.guests && now < end_of_patience();
}

TimeNs Doorkeeper::end_of_patience() const {
  return guests_.begin()->second.since + limits_.patience_ns;
}

void Doorkeeper::pause(TimeNs until) {
  poller_.forget(listener_.get());
  paused_until_ = until;
}

void Doorkeeper::accept_some(TimeNs now) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    if (full(now)) return pause(end_of_patience());  // not watched meanwhile
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        RAILCCL_WARN_ONCE(Subsys::kBootstrap, "bootstrap accept " + name_,
                          "bootstrap: {} cannot take a connection: {}; raise the limit on open "
                          "files (ulimit -n)",
                          name_, std::strerror(errno));
        pause(now + kNoDescriptorsPause);
      }
      return;
    }
    if (guests_.size() >= limits_.guests) {
      drop(guests_.begin(), "it did not prove itself while others were waiting");
    }
    const int on = 1;
    (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const int number = fd.get();
    if (!poller_.watch(number, false)) return;
    by_fd_[number] = arrivals_;
    guests_.emplace(arrivals_++, Guest{FrameStream(std::move(fd)), AcceptorHandshake(key_), now});
  }
}

void Doorkeeper::step(Guests::iterator entry, TimeNs now, Host& host) {
  Guest& guest = entry->second;
  const Result<bool> read = guest.stream.read_some();
  const Result<bool> proven = guest.handshake.step(guest.stream);
  const Status sent = guest.stream.flush();  // the challenge, if any: fits into an empty socket
  if (!proven) return drop(entry, proven.error().message());
  if (!*proven) {
    if (!read) {
      // A rank that ends while it dials does so as well.
      RAILCCL_INFO(Subsys::kBootstrap,
                   "bootstrap: {}: a connection ended before it proved itself: {}", name_,
                   read.error().message());
      return forget(entry);
    }
    if (!sent) return drop(entry, sent.message());
    return;
  }
  const Hello hello = guest.handshake.hello();
  const Verdict verdict = host.on_proven(hello);
  guest.handshake.welcome(guest.stream, verdict);
  (void)guest.stream.flush();  // a broken connection shows up at its next owner
  FrameStream stream = std::move(guest.stream);
  poller_.forget(stream.fd());
  by_fd_.erase(stream.fd());
  guests_.erase(entry);
  if (verdict == Verdict::kAccepted) host.on_admitted(hello, std::move(stream), now);
}

void Doorkeeper::drop(Guests::iterator entry, std::string_view reason) {
  if (strangers_++ == 0) {
    RAILCCL_WARN(Subsys::kBootstrap,
                 "bootstrap: {} dropped a connection from {}: {}. More of them are dropped without "
                 "a word",
                 name_, remote_address(entry->second.stream.fd()).text(), reason);
  }
  forget(entry);
}

void Doorkeeper::forget(Guests::iterator entry) {
  const int fd = entry->second.stream.fd();
  poller_.forget(fd);
  by_fd_.erase(fd);
  guests_.erase(entry);
}

void Doorkeeper::tick(TimeNs now) {
  while (!guests_.empty() && now >= guests_.begin()->second.since + limits_.handshake_timeout_ns) {
    drop(guests_.begin(), "it did not prove itself in time");
  }
  if (listener_ && paused_until_ != 0 && now >= paused_until_) {
    paused_until_ = 0;
    if (!poller_.watch(listener_.get(), false)) paused_until_ = now + kNoDescriptorsPause;
  }
}

TimeNs Doorkeeper::next_deadline() const {
  TimeNs deadline = paused_until_ == 0 ? kNever : paused_until_;
  if (!guests_.empty()) {
    deadline = std::min(deadline, guests_.begin()->second.since + limits_.handshake_timeout_ns);
  }
  return deadline;
}

}  // namespace railccl::boot
