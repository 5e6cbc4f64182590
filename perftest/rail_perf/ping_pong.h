// Activities that measure latency: a put with a notification goes there, one comes back.
#pragma once

#include "perftest/rail_perf/activity.h"
#include "perftest/rail_perf/statistics.h"

namespace railccl::perftest::railperf {

// Times each round trip by this node's clock: from before a put until the notification of the
// answer.
class Pinger final : public Activity {
 public:
  Pinger(const Slots& slots, const Length& length, RoundTrips& times);
  Result<bool> step(Link& link, TimeNs now) override;
  bool done() const override { return sent_all_ && !underway_ && outstanding_ == 0; }
  void on_put_done() override { --outstanding_; }
  void on_notification(uint64_t tag) override;

 private:
  Slots slots_;
  Length length_;
  RoundTrips& times_;
  uint64_t sent_ = 0;
  uint64_t outstanding_ = 0;  // not acknowledged, which may come after the answer
  bool underway_ = false;
  bool sent_all_ = false;
  TimeNs began_ = 0;
  TimeNs sent_at_ = 0;
};

class Ponger final : public Activity {
 public:
  explicit Ponger(const Slots& slots) : slots_(slots) {}
  Result<bool> step(Link& link, TimeNs now) override;
  bool done() const override { return false; }
  void on_notification(uint64_t /*tag*/) override { ++due_; }

 private:
  Slots slots_;
  uint64_t due_ = 0;
  uint64_t sent_ = 0;
};

}  // namespace railccl::perftest::railperf
