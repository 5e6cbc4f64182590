// The algorithms with as many steps as ranks, at a thousand ranks; minutes of one core.
#include <gtest/gtest.h>

#include "algorithms/verifier.h"
#include "tests/algorithms/shapes.h"

namespace railccl {
namespace {

class ScaleFull : public testing::TestWithParam<size_t> {};

TEST_P(ScaleFull, Verifies) {
  const Algorithm& algorithm = catalog()[GetParam()];
  size_t verified = 0;
  for (const int ranks : {1000, 1024}) {
    const std::vector<NamedLayout> layouts = large_layouts(ranks);
    // One node and nodes of 8; uneven nodes and one rank per node.
    for (size_t i = ranks == 1024 ? 0 : 2; i < (ranks == 1024 ? 2u : 4u); ++i) {
      const Shape shape = large_shape(algorithm.collective, layouts[i]);
      if (!algorithm.unsuitable(shape).empty()) continue;
      const Status status = verify_algorithm(algorithm, shape);
      EXPECT_TRUE(status.is_ok()) << describe(algorithm, shape, layouts[i]) << ": "
                                  << status.message();
      ++verified;
    }
  }
  EXPECT_GT(verified, 0u);
}

INSTANTIATE_TEST_SUITE_P(Catalog, ScaleFull, testing::Range(size_t{0}, catalog().size()),
                         [](const testing::TestParamInfo<size_t>& tested) {
                           const Algorithm& algorithm = catalog()[tested.param];
                           std::string name(collective_name(algorithm.collective));
                           for (const char c : algorithm.name) name += c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace railccl
