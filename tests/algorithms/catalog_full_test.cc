// The larger part of the sweep over rank counts and shapes; minutes of one core.
#include <gtest/gtest.h>

#include "tests/algorithms/sweep.h"

namespace railccl {
namespace {

TEST(CatalogFull, AllRootsUpTo16Ranks) {
  for (const Algorithm& algorithm : catalog()) {
    Sweep sweep;
    for (int ranks = 13; ranks <= 16; ++ranks) {
      for (const NamedLayout& layout : layouts_of(ranks)) {
        sweep.verify(algorithm, layout, all_roots(ranks));
      }
    }
    EXPECT_GT(sweep.verified(), 20u) << algorithm.name;
  }
}

TEST(CatalogFull, ShapesUpTo64Ranks) {
  for (const Algorithm& algorithm : catalog()) {
    Sweep sweep(7);
    for (int ranks = 17; ranks <= 64; ++ranks) {
      for (const NamedLayout& layout : layouts_of(ranks)) {
        sweep.verify(algorithm, layout, some_roots(ranks));
      }
    }
    EXPECT_GT(sweep.verified(), 30u) << algorithm.name;
  }
}

}  // namespace
}  // namespace railccl
