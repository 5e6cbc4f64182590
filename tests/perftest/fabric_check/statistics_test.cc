#include "perftest/fabric_check/statistics.h"

#include <gtest/gtest.h>

namespace railccl::perftest::fabric {
namespace {

struct Row {
  std::vector<double> values;
  double median;
  double spread;
  double reference;
};

TEST(Statistics, Table) {
  const Row rows[] = {
      {{}, 0, 0, 0},
      {{5}, 5, 0, 5},
      {{1, 3}, 2, 1.4826, 3},
      {{3, 1, 2}, 2, 1.4826, 2.5},
      {{10, 10, 10, 1}, 10, 0, 10},               // one bad value moves nothing
      {{9, 1, 10, 1, 11, 1}, 5, 4 * 1.4826, 10},  // nor do half of them the reference
      {{1, 1, 1, 1, 10, 10}, 1, 0, 10},           // nor two thirds
      {{8, 9, 10, 11, 12}, 10, 1.4826, 11},
  };
  for (const Row& row : rows) {
    EXPECT_DOUBLE_EQ(median(row.values), row.median);
    EXPECT_DOUBLE_EQ(spread(row.values), row.spread);
    EXPECT_DOUBLE_EQ(reference(row.values), row.reference);
  }
}

}  // namespace
}  // namespace railccl::perftest::fabric
