// What the times of single iterations say. Pure.
#pragma once

#include <span>

namespace railccl::perftest {

// Microseconds in, microseconds out.
struct IterationStats {
  double min = 0, max = 0, mean = 0, stdev = 0;
  double p50 = 0, p95 = 0, p99 = 0, p999 = 0;  // nearest rank
  double variation_percent() const { return mean > 0 ? stdev / mean * 100 : 0; }
};

// All zero without times.
IterationStats iteration_stats(std::span<const double> times_us);

}  // namespace railccl::perftest
