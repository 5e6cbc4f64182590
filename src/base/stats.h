// Small statistics with bounded memory: a log-scaled histogram, a moving mean, and the rate of a
// rail over the time in which it was busy. Pure: no clock, no threads; one owner each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "src/base/clock.h"

namespace railccl {

// Counts of uint64 values (nanoseconds, bytes) in buckets of 1/16 of a power of two. Values below
// 32 are exact; a percentile is off by at most kRelativeError of the value (the middle of its
// bucket is given), and never outside [min, max]. 8 KiB each.
class Histogram {
 public:
  static constexpr double kRelativeError = 1.0 / 32;

  void add(uint64_t value) { add(value, 1); }
  void add(uint64_t value, uint64_t times);
  void merge(const Histogram& other);

  uint64_t count() const { return count_; }
  uint64_t min() const { return count_ == 0 ? 0 : min_; }
  uint64_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }
  // The smallest value that at least `percent` of all values do not exceed; 0 when empty. percent
  // is taken into [0, 100].
  uint64_t percentile(double percent) const;

  // Non-empty buckets in ascending order, for files: visit(lowest value, highest value, count).
  template <typename Visitor>
  void for_each_bucket(Visitor visit) const {
    for (size_t i = 0; i < kBuckets; ++i) {
      if (counts_[i] != 0) visit(bucket_low(i), bucket_high(i), counts_[i]);
    }
  }

 private:
  static constexpr int kSubBits = 4;  // buckets per power of two: 16
  static constexpr size_t kSub = size_t{1} << kSubBits;
  static constexpr size_t kBuckets = (64 - kSubBits + 1) * kSub;
  static size_t bucket_of(uint64_t value);
  static uint64_t bucket_low(size_t bucket);
  static uint64_t bucket_high(size_t bucket);

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t count_ = 0;
  uint64_t min_ = ~uint64_t{0};
  uint64_t max_ = 0;
  double sum_ = 0;
};

// An exponentially weighted mean: each sample counts `share`, what was before 1 - share. The first
// sample is taken as it is.
class MovingMean {
 public:
  explicit MovingMean(double share) : share_(share) {}
  void add(double sample) {
    value_ = empty_ ? sample : value_ + share_ * (sample - value_);
    empty_ = false;
  }
  bool empty() const { return empty_; }
  double value() const { return value_; }  // 0 when empty

 private:
  double share_;
  double value_ = 0;
  bool empty_ = true;
};

struct RateMeterOptions {
  double initial_bytes_per_second = 0;    // what is known beforehand; counts until replaced
  TimeNs window_ns = 10 * kMillisecond;   // busy time that makes one sample, at least
  TimeNs memory_ns = 200 * kMillisecond;  // busy time for which a sample counts, at least
};

// Delivered bytes over the time in which at least one byte was in flight. Idle time does not count,
// and neither does how long a byte queued behind others. The rate is the largest of the recent
// samples: a host that looks away, or a peer that is late, makes a sample too small and never too
// large. Deliveries that were held back and are reported in one go would make it too large; so a
// sample's time is at least the busy time over which its bytes had been posted (both are the
// delivery-rate filter of BBR: Cardwell et al., ACM Queue 14, 2016). A window is long enough for
// the burst of a shallow queue not to matter. Bytes are taken to leave in the order in which they
// were posted. Times must not decrease; one that does is taken as the latest seen.
class RateMeter {
 public:
  explicit RateMeter(const RateMeterOptions& options);

  void on_posted(uint64_t bytes, TimeNs now);
  void on_delivered(uint64_t bytes, TimeNs now);
  // They will not be delivered (the rail failed); the time they took counts all the same.
  void on_lost(uint64_t bytes, TimeNs now);

  // A window that is still open counts as soon as it is longer than memory_ns: so the rate of a
  // rail that has stalled falls while it stalls.
  double bytes_per_second(TimeNs now) const;
  uint64_t bytes_in_flight() const { return in_flight_; }
  uint64_t bytes_delivered() const { return delivered_; }
  TimeNs busy_ns(TimeNs now) const;
  bool measured() const { return measured_; }  // at least one window was closed

 private:
  // The byte after the first `bytes` was posted when the rail had been busy for `busy`.
  struct PostMark {
    uint64_t bytes = 0;
    TimeNs busy = 0;
  };
  static constexpr size_t kMarks = 64;

  void advance(TimeNs now);
  void leave_flight(uint64_t bytes);
  void close_window();

  RateMeterOptions options_;
  std::array<PostMark, kMarks> marks_{};  // ring: of what is in flight, some
  size_t first_mark_ = 0;
  size_t mark_count_ = 0;
  uint64_t left_ = 0;            // bytes that have left, delivered or lost
  TimeNs left_posted_at_ = 0;    // busy time at which the last of them was posted
  TimeNs window_posted_at_ = 0;  // the same when the window began
  // The largest samples of the last two spans of memory_ns; before the first sample what is known
  // beforehand.
  double previous_ = 0;
  double current_ = 0;
  TimeNs span_busy_ = 0;
  bool measured_ = false;
  TimeNs latest_ = 0;
  uint64_t in_flight_ = 0;
  uint64_t delivered_ = 0;
  TimeNs busy_ = 0;  // closed windows and the open one
  TimeNs window_busy_ = 0;
  uint64_t window_bytes_ = 0;
};

}  // namespace railccl
