#include "perftest/rail_perf/stream.h"

#include "src/base/fast_clock.h"

namespace railccl::perftest::railperf {
namespace {

// The first byte of a message.
constexpr std::byte kMore{0};
constexpr std::byte kLast{1};
constexpr std::byte kAnswer{2};

// False: no room now.
Result<bool> send(Link& link, std::byte first, std::span<const std::byte> body, TimeNs now) {
  const Status sent = link.send({&first, 1}, body, now);
  if (sent.code() == Code::kBackPressure) return false;
  RAILCCL_TRY(sent);
  return true;
}

bool is(std::span<const std::byte> message, std::byte first) {
  return !message.empty() && message.front() == first;
}

}  // namespace

PutStream::PutStream(const Slots& slots, const Length& length, PutTimes& times)
    : slots_(slots), length_(length), times_(times) {
  times_.clear();
}

Result<bool> PutStream::step(Link& link, TimeNs now) {
  if (posted_all_) return false;
  if (began_ == 0) began_ = fast_now_ns();
  bool posted = false;
  while (outstanding_ < slots_.window && !posted_all_) {
    const TimeNs posted_at = fast_now_ns();
    times_.post(posted_at);
    ++outstanding_;
    RAILCCL_TRY(link.put(slots_.put(posted_++), now));
    posted = true;
    posted_all_ = length_.is_over(posted_, posted_at - began_);
  }
  return posted;
}

void PutStream::on_put_done() {
  ended_ = fast_now_ns();
  times_.done(ended_);
  --outstanding_;
}

Stream PutStream::result() const {
  return {.bytes_per_put = slots_.bytes,
          .puts = posted_,
          .seconds = static_cast<double>(ended_ - began_) / 1e9,
          .peak_puts_per_second = times_.peak_rate()};
}

Result<bool> MessageStream::step(Link& link, TimeNs now) {
  if (sent_last_) return false;
  if (began_ == 0) began_ = fast_now_ns();
  bool sent = false;
  while (!sent_last_) {
    const bool last = length_.is_over(sent_ + 1, fast_now_ns() - began_);
    RAILCCL_ASSIGN(const bool taken, railperf::send(link, last ? kLast : kMore, body_, now));
    if (!taken) break;
    sent = true;
    ++sent_;
    sent_last_ = last;
  }
  return sent;
}

void MessageStream::on_message(std::span<const std::byte> message) {
  if (is(message, kAnswer)) ended_ = fast_now_ns();
}

Result<bool> Receiver::step(Link& link, TimeNs now) {
  if (!answer_due_) return false;
  RAILCCL_ASSIGN(const bool taken, railperf::send(link, kAnswer, {}, now));
  answer_due_ = !taken;
  return taken;
}

void Receiver::on_message(std::span<const std::byte> message) {
  if (is(message, kLast)) answer_due_ = true;
}

}  // namespace railccl::perftest::railperf
