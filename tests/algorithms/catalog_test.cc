// Every algorithm of the catalog, proved right by the verifier over many shapes.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/algorithms/sweep.h"

namespace railccl {
namespace {

TEST(Catalog, EveryShapeUpTo12Ranks) {
  for (const Algorithm& algorithm : catalog()) {
    Sweep sweep;
    for (int ranks = 1; ranks <= 12; ++ranks) {
      for (const NamedLayout& layout : layouts_of(ranks)) {
        sweep.verify(algorithm, layout, all_roots(ranks));
      }
    }
    EXPECT_GT(sweep.verified(), 100u) << algorithm.name;
  }
}

// All shapes are in the tests with label `full`.
TEST(Catalog, SomeShapesUpTo64Ranks) {
  for (const Algorithm& algorithm : catalog()) {
    Sweep sweep(is_rooted(algorithm.collective) ? 97 : 53);
    for (int ranks = 13; ranks <= 64; ++ranks) {
      for (const NamedLayout& layout : layouts_of(ranks)) {
        sweep.verify(algorithm, layout, some_roots(ranks));
      }
    }
    EXPECT_GT(sweep.verified(), 5u) << algorithm.name;
  }
}

TEST(Catalog, EveryCollectiveHasOneForEveryLayout) {
  for (int i = 0; i < static_cast<int>(Collective::kSendRecv); ++i) {
    const auto collective = static_cast<Collective>(i);
    for (const int ranks : {1, 2, 7, 64, 100'000}) {
      for (const NamedLayout& layout : large_layouts(ranks)) {
        const Shape shape{
            .collective = collective, .layout = layout.layout, .block = 9, .piece = 3};
        const bool any = std::any_of(catalog().begin(), catalog().end(), [&](const Algorithm& a) {
          return a.collective == collective && a.unsuitable(shape).empty();
        });
        EXPECT_TRUE(any) << collective_name(collective) << " " << ranks << " " << layout.name;
      }
    }
  }
}

TEST(Catalog, NothingToDoIsAnEmptySchedule) {
  for (const Algorithm& algorithm : catalog()) {
    const NamedLayout layout = layouts_of(3).front();
    const Shape shape{.collective = algorithm.collective, .layout = layout.layout};
    for (int rank = 0; rank < 3; ++rank) {
      EXPECT_TRUE(algorithm.generate(shape, rank).steps.empty()) << algorithm.name;
    }
  }
}

TEST(Catalog, NamesAreFoundAndUnique) {
  for (const Algorithm& algorithm : catalog()) {
    EXPECT_EQ(find_algorithm(algorithm.collective, algorithm.name), &algorithm);
  }
  EXPECT_EQ(find_algorithm(Collective::kAllReduce, "magic"), nullptr);
}

}  // namespace
}  // namespace railccl
