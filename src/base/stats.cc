#include "src/base/stats.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace railccl {

// Values below 2 * kSub have a bucket each; above, a bucket is the kSubBits bits after the highest.
size_t Histogram::bucket_of(uint64_t value) {
  if (value < 2 * kSub) return value;
  const int shift = std::bit_width(value) - 1 - kSubBits;
  return static_cast<size_t>(shift) * kSub + (value >> shift);
}

uint64_t Histogram::bucket_low(size_t bucket) {
  if (bucket < 2 * kSub) return bucket;
  const size_t shift = bucket / kSub - 1;
  return (bucket - shift * kSub) << shift;
}

uint64_t Histogram::bucket_high(size_t bucket) {
  if (bucket < 2 * kSub) return bucket;
  return bucket_low(bucket) + ((uint64_t{1} << (bucket / kSub - 1)) - 1);
}

void Histogram::add(uint64_t value, uint64_t times) {
  if (times == 0) return;
  counts_[bucket_of(value)] += times;
  count_ += times;
  sum_ += static_cast<double>(value) * static_cast<double>(times);
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
}

void Histogram::merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

uint64_t Histogram::percentile(double percent) const {
  if (count_ == 0) return 0;
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  const auto wanted =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    if (seen < wanted) continue;
    const uint64_t middle = bucket_low(i) + (bucket_high(i) - bucket_low(i)) / 2;
    return std::clamp(middle, min_, max_);
  }
  return max_;
}

RateMeter::RateMeter(const RateMeterOptions& options)
    : options_(options), current_(options.initial_bytes_per_second) {}

void RateMeter::advance(TimeNs now) {
  if (now <= latest_) return;
  if (in_flight_ > 0) {
    busy_ += now - latest_;
    window_busy_ += now - latest_;
  }
  latest_ = now;
}

void RateMeter::leave_flight(uint64_t bytes) {
  const uint64_t leaving = std::min(bytes, in_flight_);
  in_flight_ -= leaving;
  left_ += leaving;
  while (mark_count_ > 0 && marks_[first_mark_].bytes < left_) {
    left_posted_at_ = marks_[first_mark_].busy;
    first_mark_ = (first_mark_ + 1) % kMarks;
    --mark_count_;
  }
}

void RateMeter::on_posted(uint64_t bytes, TimeNs now) {
  advance(now);
  // Marks lie a sixteenth of a window apart, which is exact enough and bounds their number.
  const size_t last = (first_mark_ + mark_count_ + kMarks - 1) % kMarks;
  const bool near = mark_count_ > 0 && busy_ - marks_[last].busy < options_.window_ns / 16;
  if (!near && mark_count_ < kMarks) {
    marks_[(first_mark_ + mark_count_++) % kMarks] = {.bytes = left_ + in_flight_, .busy = busy_};
  }
  in_flight_ += bytes;
}

void RateMeter::on_delivered(uint64_t bytes, TimeNs now) {
  advance(now);
  leave_flight(bytes);
  delivered_ += bytes;
  window_bytes_ += bytes;
  if (window_busy_ >= std::max<TimeNs>(options_.window_ns, 1)) close_window();
}

void RateMeter::close_window() {
  if (!measured_) current_ = 0;
  measured_ = true;
  const TimeNs time = std::max(window_busy_, left_posted_at_ - window_posted_at_);
  window_posted_at_ = left_posted_at_;
  current_ =
      std::max(current_, static_cast<double>(window_bytes_) * 1e9 / static_cast<double>(time));
  span_busy_ += window_busy_;
  if (span_busy_ >= options_.memory_ns) {
    previous_ = current_;
    current_ = 0;
    span_busy_ = 0;
  }
  window_busy_ = 0;
  window_bytes_ = 0;
}

void RateMeter::on_lost(uint64_t bytes, TimeNs now) {
  advance(now);
  leave_flight(bytes);
}

double RateMeter::bytes_per_second(TimeNs now) const {
  const double rate = std::max(previous_, current_);
  const TimeNs open = in_flight_ > 0 && now > latest_ ? now - latest_ : 0;
  const TimeNs busy = window_busy_ + open;
  if (busy <= options_.memory_ns) return rate;
  return std::min(rate, static_cast<double>(window_bytes_) * 1e9 / static_cast<double>(busy));
}

TimeNs RateMeter::busy_ns(TimeNs now) const {
  return busy_ + (in_flight_ > 0 && now > latest_ ? now - latest_ : 0);
}

}  // namespace railccl
