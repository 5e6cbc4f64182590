#include "perftest/rail_perf/ping_pong.h"

#include "src/base/fast_clock.h"

namespace railccl::perftest::railperf {

Pinger::Pinger(const Slots& slots, const Length& length, RoundTrips& times)
    : slots_(slots), length_(length), times_(times) {
  times_.clear();
}

Result<bool> Pinger::step(Link& link, TimeNs now) {
  if (underway_ || sent_all_) return false;
  underway_ = true;
  ++outstanding_;
  sent_at_ = fast_now_ns();
  if (began_ == 0) began_ = sent_at_;
  RAILCCL_TRY(link.put(slots_.put(sent_++), now));
  sent_all_ = length_.is_over(sent_, sent_at_ - began_);
  return true;
}

void Pinger::on_notification(uint64_t /*tag*/) {
  if (!underway_) return;
  times_.add(fast_now_ns() - sent_at_);
  underway_ = false;
}

Result<bool> Ponger::step(Link& link, TimeNs now) {
  if (due_ == 0) return false;
  for (; due_ > 0; --due_) RAILCCL_TRY(link.put(slots_.put(sent_++), now));
  return true;
}

}  // namespace railccl::perftest::railperf
