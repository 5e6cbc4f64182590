// Sizes and factors against the numbers of nccl-tests, worked out by hand.
#include "perftest/common/collective.h"

#include <gtest/gtest.h>

namespace railccl::perftest {
namespace {

struct Case {
  const Collective& collective;
  uint64_t send_count, recv_count, call_count, send_offset, recv_offset;  // 1000 floats, 3 ranks
  double algorithm, bus;  // GB/s with call_count floats in 1 us
};

TEST(Collective, HasTheSizesAndFactorsOfNcclTests) {
  // 1000 / 3 = 333 elements, rounded down to 16 bytes: 332.
  const Case cases[] = {
      {all_reduce(), 1000, 1000, 1000, 0, 0, 4, 4 * 2 * 2.0 / 3},
      {broadcast(), 1000, 1000, 1000, 0, 0, 4, 4},
      {reduce(), 1000, 1000, 1000, 0, 0, 4, 4},
      {sendrecv(), 1000, 1000, 1000, 0, 0, 4, 4},
      {all_gather(), 332, 996, 332, 332, 0, 3.984, 3.984 * 2 / 3},
      {reduce_scatter(), 996, 332, 332, 0, 332, 3.984, 3.984 * 2 / 3},
      {alltoall(), 996, 996, 332, 0, 0, 3.984, 3.984 * 2 / 3},
      {gather(), 332, 996, 332, 332, 0, 3.984, 3.984 * 2 / 3},
      {scatter(), 996, 332, 332, 0, 332, 3.984, 3.984 * 2 / 3},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.collective.program);
    const Layout layout = c.collective.layout({.count = 1000, .element_bytes = 4, .ranks = 3});
    EXPECT_EQ(layout.send_count, c.send_count);
    EXPECT_EQ(layout.recv_count, c.recv_count);
    EXPECT_EQ(layout.call_count, c.call_count);
    EXPECT_EQ(layout.send_in_place_offset, c.send_offset);
    EXPECT_EQ(layout.recv_in_place_offset, c.recv_offset);
    const Bandwidth rate = bandwidth(c.collective, layout.call_count * 4, 3, 1e-6);
    EXPECT_DOUBLE_EQ(rate.algorithm, c.algorithm);
    EXPECT_DOUBLE_EQ(rate.bus, c.bus);
  }
}

TEST(Collective, OneRankHasNoBusBandwidthWhereNothingMoves) {
  EXPECT_EQ(bandwidth(all_reduce(), 4000, 1, 1e-6).bus, 0);
  EXPECT_EQ(bandwidth(all_gather(), 4000, 1, 1e-6).bus, 0);
  EXPECT_EQ(bandwidth(all_reduce(), 4000, 2, 0).algorithm, 0);
}

TEST(Collective, ExpectationsFillTheOutput) {
  for (const auto& collective : {all_reduce(), all_gather(), broadcast(), reduce(),
                                 reduce_scatter(), alltoall(), gather(), scatter(), sendrecv()}) {
    for (int rank = 0; rank < 5; ++rank) {
      const Layout layout = collective.layout({.count = 777, .element_bytes = 2, .ranks = 5});
      uint64_t total = 0;
      for (const Expected& part :
           collective.expected(layout, {.rank = rank, .ranks = 5, .root = 3})) {
        total += part.count;
      }
      EXPECT_EQ(total, layout.recv_count) << collective.program << " rank " << rank;
    }
  }
}

}  // namespace
}  // namespace railccl::perftest
