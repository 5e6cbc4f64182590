#include "perftest/fabric_check/fabric.h"

namespace railccl::perftest::fabric {

std::vector<double> measured_gbps(const Matrix& matrix) {
  std::vector<double> values;
  const int nodes = static_cast<int>(matrix.nodes());
  for (int from = 0; from < nodes; ++from) {
    for (int to = 0; to < nodes; ++to) {
      if (matrix.at(from, to).state == PairState::kMeasured) {
        values.push_back(matrix.at(from, to).gbps);
      }
    }
  }
  return values;
}

}  // namespace railccl::perftest::fabric
