// The epoll descriptor of a rail: everything the rail waits for hangs on it, so that the owner can
// sleep on one descriptor (nested epoll works). Owned and used by the rail's thread.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <span>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/unique_fd.h"

namespace railccl::net {

// Something with a descriptor in the poller. Must be removed before it is destroyed.
class Pollable {
 public:
  virtual ~Pollable() = default;
  // `ready`: EPOLLIN, EPOLLOUT, EPOLLERR, ... as epoll reported them.
  virtual void on_ready(uint32_t ready) = 0;
  // Bulk data is served after everything else that is ready.
  virtual bool is_bulk() const { return false; }
};

class Poller {
 public:
  static Result<Poller> create();

  Status add(int fd, uint32_t interest, Pollable& target);
  Status modify(int fd, uint32_t interest, Pollable& target);
  void remove(int fd);

  // What is ready now; never waits. Entries of the poller's own wake-ups are left out. An entry's
  // target is data.ptr; the span is valid until the next call.
  std::span<const epoll_event> ready();

  // Targets that wait for room to send are known from here alone.
  void expect_room(bool wanted) { room_expected_ += wanted ? 1 : -1; }
  bool expects_room() const { return room_expected_ > 0; }

  // Makes the descriptor readable until the next ready().
  void wake();
  // Makes it readable every `period` from now on; 0: no more.
  void set_tick(TimeNs period);

  int fd() const { return epoll_.get(); }

 private:
  static constexpr size_t kMaxEvents = 64;

  Poller() = default;

  UniqueFd epoll_;
  UniqueFd wake_;
  UniqueFd timer_;
  int room_expected_ = 0;
  std::array<epoll_event, kMaxEvents> events_{};
};

}  // namespace railccl::net
