#include "perftest/common/iteration_stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace railccl::perftest {
namespace {

// The smallest time that at least `per_mille` thousandths of all do not exceed.
double percentile(const std::vector<double>& sorted, size_t per_mille) {
  const size_t rank = (sorted.size() * per_mille + 999) / 1000;
  return sorted[std::max<size_t>(rank, 1) - 1];
}

}  // namespace

IterationStats iteration_stats(std::span<const double> times_us) {
  if (times_us.empty()) return {};
  std::vector<double> sorted(times_us.begin(), times_us.end());
  std::ranges::sort(sorted);
  const auto count = static_cast<double>(sorted.size());
  const double mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / count;
  double squares = 0;
  for (const double time : sorted) squares += (time - mean) * (time - mean);
  return {.min = sorted.front(),
          .max = sorted.back(),
          .mean = mean,
          .stdev = std::sqrt(squares / count),
          .p50 = percentile(sorted, 500),
          .p95 = percentile(sorted, 950),
          .p99 = percentile(sorted, 990),
          .p999 = percentile(sorted, 999)};
}

}  // namespace railccl::perftest
