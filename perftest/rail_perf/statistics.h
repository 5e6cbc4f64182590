// Numbers from the times of single puts. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "perftest/common/iteration_stats.h"

namespace railccl::perftest::railperf {

// Times of round trips. All of them make the extremes and the mean; the percentiles are those of
// all up to kMostKept, of a uniform random choice among more. Its memory is touched when it is
// made, so that adding costs the same each time.
class RoundTrips {
 public:
  static constexpr size_t kMostKept = size_t{1} << 20;

  RoundTrips() : kept_(kMostKept) { clear(); }
  void clear();
  void add(uint64_t ns);
  uint64_t count() const { return count_; }
  // Microseconds of half a round trip, as ib_write_lat gives them.
  IterationStats half() const;

 private:
  std::vector<uint64_t> kept_;
  uint64_t count_ = 0;
  uint64_t least_ = 0;
  uint64_t most_ = 0;
  uint64_t sum_ = 0;
  uint64_t random_ = 0;
};

// When puts were posted and done, in nanoseconds, each in the order in which it happened; of the
// first kMostKept.
class PutTimes {
 public:
  static constexpr size_t kMostKept = size_t{1} << 19;

  PutTimes() : posted_(kMostKept), done_(kMostKept) {}
  void clear();
  void post(uint64_t now_ns);
  void done(uint64_t now_ns);
  // The highest rate in puts per second over any stretch from a put's posting to a later one's end
  // (ib_write_bw's "BW peak").
  double peak_rate() const;

 private:
  std::vector<uint64_t> posted_;
  std::vector<uint64_t> done_;
  size_t posts_ = 0;
  size_t ends_ = 0;
};

// The largest (j + 1 - i) / (done[j] - posted[i]) with i <= j, per nanosecond. Both sorted; 0
// without puts.
double peak_rate(std::span<const uint64_t> posted, std::span<const uint64_t> done);

}  // namespace railccl::perftest::railperf
