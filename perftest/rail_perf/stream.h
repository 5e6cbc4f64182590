// Activities that measure bandwidth and message rate.
#pragma once

#include <vector>

#include "perftest/rail_perf/activity.h"
#include "perftest/rail_perf/result.h"
#include "perftest/rail_perf/statistics.h"

namespace railccl::perftest::railperf {

// Keeps a window of puts outstanding. A put is done when the peer has acknowledged that the whole
// of it is visible there.
class PutStream final : public Activity {
 public:
  PutStream(const Slots& slots, const Length& length, PutTimes& times);
  Result<bool> step(Link& link, TimeNs now) override;
  bool done() const override { return posted_all_ && outstanding_ == 0; }
  void on_put_done() override;
  Stream result() const;

 private:
  Slots slots_;
  Length length_;
  PutTimes& times_;
  uint64_t posted_ = 0;
  uint64_t outstanding_ = 0;
  bool posted_all_ = false;
  TimeNs began_ = 0;
  TimeNs ended_ = 0;
};

// Sends messages as fast as the link takes them; its end is the answer to the last one.
class MessageStream final : public Activity {
 public:
  MessageStream(uint64_t bytes, const Length& length) : body_(bytes), length_(length) {}
  Result<bool> step(Link& link, TimeNs now) override;
  bool done() const override { return ended_ != 0; }
  void on_message(std::span<const std::byte> message) override;
  uint64_t messages() const { return sent_; }
  double seconds() const { return static_cast<double>(ended_ - began_) / 1e9; }

 private:
  std::vector<std::byte> body_;
  Length length_;
  uint64_t sent_ = 0;
  bool sent_last_ = false;
  TimeNs began_ = 0;
  TimeNs ended_ = 0;
};

// The other node of both, and of the checks: counts puts, answers the last message.
class Receiver final : public Activity {
 public:
  Result<bool> step(Link& link, TimeNs now) override;
  bool done() const override { return false; }
  void on_notification(uint64_t /*tag*/) override { ++puts_; }
  void on_message(std::span<const std::byte> message) override;
  uint64_t puts() const { return puts_; }

 private:
  uint64_t puts_ = 0;
  bool answer_due_ = false;
};

}  // namespace railccl::perftest::railperf
