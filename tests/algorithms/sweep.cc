#include "tests/algorithms/sweep.h"

#include <gtest/gtest.h>

#include "algorithms/verifier.h"

namespace railccl {

void Sweep::verify(const Algorithm& algorithm, const NamedLayout& layout,
                   const std::vector<int>& roots) {
  const auto ranks = static_cast<size_t>(layout.layout->ranks());
  for_each_shape(algorithm.collective, layout, roots, [&](const Shape& shape) {
    if (failures_ >= kShown || !algorithm.unsuitable(shape).empty()) return;
    if ((++seen_ * 31 + ranks * 17) % period_ != 0) return;
    const Status status = verify_algorithm(algorithm, shape);
    ++verified_;
    if (status) return;
    ++failures_;
    ADD_FAILURE() << describe(algorithm, shape, layout) << ": " << status.message();
  });
}

}  // namespace railccl
