// Statistics that a few bad values do not move. Pure; 0 for no values.
#pragma once

#include <vector>

namespace railccl::perftest::fabric {

double median(std::vector<double> values);

// 1.4826 times the median distance from the median: the standard deviation, if it were noise.
double spread(const std::vector<double>& values);

// What values of equals should be: the median of their better half, so the value that three
// quarters of them may fall short of. Bad values are always low ones here.
double reference(std::vector<double> values);

}  // namespace railccl::perftest::fabric
