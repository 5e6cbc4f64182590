// Every algorithm of the catalog, proved right by the verifier over many shapes.
#include <gtest/gtest.h>

#include "algorithms/verifier.h"
#include "tests/algorithms/shapes.h"

namespace railccl {
namespace {

// The first shapes that fail of each algorithm.
class Sweep {
 public:
  void verify(const Algorithm& algorithm, const NamedLayout& layout,
              const std::vector<int>& roots) {
    for_each_shape(algorithm.collective, layout, roots, [&](const Shape& shape) {
      if (failures_ >= kShown || !algorithm.unsuitable(shape).empty()) return;
      const Status status = verify_algorithm(algorithm, shape);
      ++verified_;
      if (status) return;
      ++failures_;
      ADD_FAILURE() << describe(algorithm, shape, layout) << ": " << status.message();
    });
  }
  size_t verified() const { return verified_; }

 private:
  static constexpr int kShown = 5;
  size_t verified_ = 0;
  int failures_ = 0;
};

TEST(Catalog, EveryShapeOfSmallRankCounts) {
  for (const Algorithm& algorithm : catalog()) {
    Sweep sweep;
    for (int ranks = 1; ranks <= 12; ++ranks) {
      for (const NamedLayout& layout : layouts_of(ranks)) {
        sweep.verify(algorithm, layout, all_roots(ranks));
      }
    }
    EXPECT_GT(sweep.verified(), 90u) << algorithm.name;
  }
}

}  // namespace
}  // namespace railccl
