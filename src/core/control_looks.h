// When who drives looks at his control path: a look is a system call, and little comes there once
// ranks are connected. Soon after something has come, ever more rarely when nothing does, and soon
// again when a sleep was ended by what is not a rail.
//
// Pure: the caller says the time. One thread at a time.
#pragma once

#include <algorithm>

#include "src/base/clock.h"
#include "src/core/waiting_policy.h"

namespace railccl {

class ControlLooks {
 public:
  static constexpr TimeNs kSoon = 200 * kMicrosecond;
  static constexpr TimeNs kRarely = 5 * kMillisecond;

  bool due(TimeNs now) const { return now >= next_; }
  void looked(TimeNs now, bool came) {
    pause_ = came ? kSoon : std::min(2 * pause_, kRarely);
    at_ = now;
    next_ = now + pause_;
  }
  // The control path's descriptor is one of those that were watched. It does not say that a
  // deadline has passed, so there is a look now and then in any case.
  void slept(TimeNs now, SleepEnd end) {
    if (end == SleepEnd::kCalled) next_ = std::min(next_, at_ + kSoon);
    if (end == SleepEnd::kQuiet && now < at_ + kRarely) next_ = now + pause_;
  }

 private:
  TimeNs at_ = 0;  // the last one
  TimeNs pause_ = kSoon;
  TimeNs next_ = 0;
};

}  // namespace railccl
