// Whether what a completed operation has put may leave together with what the next ones put. Who
// sends without ever waiting (the root of a Broadcast; whoever passes on what is there already)
// pays a system call for each operation, most of its time over TCP; a few operations a call cost
// little more than one.
//
// Only a caller of whom the next call is sure to come at once is believed: many operations in a row
// had all that they needed, and followed each other closely. Anything else leaves at once; who
// sends, receives and sends again never gets here. What is held leaves when a caller has to wait,
// kSendsMayWait after the last look at the rails, and if no call comes, by the engine's thread
// (Engine::watch_callers).
//
// Pure: the caller says the time. One thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "src/base/clock.h"

namespace railccl {

class SendHold {
 public:
  // Since the rails were last asked for everything.
  static constexpr TimeNs kSendsMayWait = 20 * kMicrosecond;
  // From where one call ends to where the next one's operation does. Who takes longer would be
  // held back for longer than it gains.
  static constexpr TimeNs kClosely = 10 * kMicrosecond;
  // So long a stream has cost about as much in system calls as the end of it comes late when no
  // call follows: longer ones gain, shorter ones are left alone.
  static constexpr uint32_t kInARow = 16;

  // In a round that leaves the caller's operation incomplete: it has to wait.
  void waits(TimeNs now) {
    if (std::exchange(waited_, true)) return;
    // Who passes on what comes in lots waits for each lot, and goes on as before.
    in_a_row_ = follows_closely(now) ? in_a_row_ * 3 / 4 : 0;
  }
  // It is complete.
  void ended(TimeNs now) {
    if (!std::exchange(waited_, false)) {
      in_a_row_ = follows_closely(now) ? std::min(in_a_row_ + 1, 2 * kInARow) : 1;
    }
    left_at_ = now;
  }
  // Its caller goes only now: there was something to send.
  void left(TimeNs now) { left_at_ = now; }
  // After ended().
  bool allows(TimeNs now, TimeNs looked_at) const {
    return in_a_row_ > kInARow && now - looked_at < kSendsMayWait;
  }

 private:
  bool follows_closely(TimeNs now) const { return now - left_at_ <= kClosely; }

  uint32_t in_a_row_ = 0;  // operations that did not have to wait, less some for each that did
  bool waited_ = false;
  TimeNs left_at_ = 0;
};

}  // namespace railccl
