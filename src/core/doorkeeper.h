// A listener and those who knock: takes connections, lets each prove that it knows the key, and
// hands the proven ones to the host. Strangers cost at most a bounded number of descriptors for a
// bounded time; the first of them is logged, the others are counted.
//
// When all places are taken, whoever has waited longer than the door's patience makes room for the
// next one, so that silent strangers cannot keep ranks out (a rank that is pushed out comes back).
//
// One thread at a time; never blocks.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

#include "src/base/clock.h"
#include "src/base/unique_fd.h"
#include "src/core/fork_guard.h"
#include "src/core/framing.h"
#include "src/core/handshake.h"
#include "src/core/poller.h"

namespace railccl::boot {

class Host {
 public:
  virtual ~Host() = default;
  // `hello` is proven.
  virtual Verdict on_proven(const Hello& hello) = 0;
  // After kAccepted was sent; the stream is no longer watched.
  virtual void on_admitted(const Hello& hello, FrameStream stream, TimeNs now) = 0;
};

struct DoorLimits {
  size_t guests = 512;                        // unproven connections at a time
  TimeNs handshake_timeout_ns = 5 * kSecond;  // for the whole handshake
  TimeNs patience_ns = 250 * kMillisecond;    // undisturbed time when others wait
};

class Doorkeeper {
 public:
  // `name` is who listens, for log lines. `poller` outlives the object.
  Doorkeeper(UniqueFd listener, const Key& key, std::string name, const DoorLimits& limits,
             Poller& poller);
  ~Doorkeeper();
  Doorkeeper(const Doorkeeper&) = delete;
  Doorkeeper& operator=(const Doorkeeper&) = delete;

  Status open();  // starts watching
  // False: not a descriptor of the door.
  bool handle(int fd, TimeNs now, Host& host);
  void tick(TimeNs now);
  TimeNs next_deadline() const;
  // Nobody new; who is inside may finish.
  void close_listener();
  bool listening() const { return static_cast<bool>(listener_); }
  size_t guests() const { return guests_.size(); }
  uint64_t strangers() const { return strangers_; }

 private:
  struct Guest {
    FrameStream stream;
    AcceptorHandshake handshake;
    TimeNs since = 0;
  };
  using Guests = std::map<uint64_t, Guest>;  // by order of arrival

  void accept_some(TimeNs now);
  bool full(TimeNs now) const;
  TimeNs end_of_patience() const;
  void pause(TimeNs until);
  void step(Guests::iterator guest, TimeNs now, Host& host);
  void drop(Guests::iterator guest, std::string_view reason);
  void forget(Guests::iterator guest);

  GuardedFd listener_;
  Key key_;
  std::string name_;
  DoorLimits limits_;
  Poller& poller_;
  Guests guests_;
  std::unordered_map<int, uint64_t> by_fd_;
  uint64_t arrivals_ = 0;
  uint64_t strangers_ = 0;
  TimeNs paused_until_ = 0;  // 0: accepting
};

}  // namespace railccl::boot
