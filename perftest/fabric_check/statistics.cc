#include "perftest/fabric_check/statistics.h"

#include <algorithm>
#include <cmath>

namespace railccl::perftest::fabric {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double spread(const std::vector<double>& values) {
  const double center = median(values);
  std::vector<double> distances;
  distances.reserve(values.size());
  for (const double value : values) distances.push_back(std::abs(value - center));
  return 1.4826 * median(std::move(distances));
}

double reference(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return median({values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end()});
}

}  // namespace railccl::perftest::fabric
