// Whether a process's callers wait at once for what they begin on a stream. If so they drive it
// themselves, and the engine's thread, woken for it, would only take a core and the driver lock
// from them; it looks a little later whether somebody has come. Who does something else first is
// not believed again until he has waited at once some times.
//
// Atomic: any thread. Pure: the caller says the time.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "src/base/clock.h"

namespace railccl {

class WaitHabit {
 public:
  static constexpr TimeNs kAtOnce = 50 * kMicrosecond;
  static constexpr uint32_t kBelieved = 8;  // in a row

  // Something was begun. True: its caller is expected at once.
  bool begun(TimeNs now) {
    ++begun_;
    if (begun_at_.exchange(now) != kNobody) in_a_row_ = 0;
    return in_a_row_ >= kBelieved;
  }
  // A caller has come to wait for what he began.
  void came(TimeNs now) {
    const TimeNs since = begun_at_.exchange(kNobody);
    if (since == kNobody) return;
    in_a_row_ = now - since > kAtOnce ? 0 : in_a_row_ + 1;
  }
  // True, once, when he has not come in time.
  bool overdue(TimeNs now) {
    TimeNs since = begun_at_;
    if (since == kNobody || now - since <= kAtOnce) return false;
    in_a_row_ = 0;
    return begun_at_.compare_exchange_strong(since, kNobody);
  }
  bool expects() const { return begun_at_ != kNobody; }
  uint64_t count() const { return begun_; }  // of what was begun

 private:
  static constexpr TimeNs kNobody = 0;

  std::atomic<TimeNs> begun_at_{kNobody};  // and not waited for
  std::atomic<uint32_t> in_a_row_{0};      // waited for at once
  std::atomic<uint64_t> begun_{0};
};

// When the engine's thread looks after what its callers hold (SendHold) and have begun: soon after
// a stream's begin, in case that no call follows. Its looks keep a core from the callers, so the
// longer the stream goes on the rarer they are: its end comes late by no more than a share of the
// time that it has taken.
//
// Pure. One thread.
class StandbyLooks {
 public:
  static constexpr TimeNs kFirst = WaitHabit::kAtOnce + 10 * kMicrosecond;
  static constexpr TimeNs kOften = 150 * kMicrosecond;
  static constexpr TimeNs kRarely = kMillisecond;
  static constexpr TimeNs kShare = 4;  // of the stream's time until now, one of so many

  explicit StandbyLooks(TimeNs now) : since_(now) {}
  // Until the first look.
  TimeNs pause() const { return kFirst; }
  // From this look to the next one.
  TimeNs pause_after(TimeNs now) const {
    return std::clamp((now - since_) / kShare, kOften, kRarely);
  }
  // No caller came: what follows is another stream.
  void stream_ended(TimeNs now) { since_ = now; }

 private:
  TimeNs since_;
};

}  // namespace railccl
