// Ranks of one process on nodes of their own, which share one progress engine: a rank that leaves
// lets the others through. Run with RAILCCL_RANKS_PER_NODE=1.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>

#include "tests/api/api_world.h"

namespace railccl::test {
namespace {

// Who waits for a goodbye gives up after five seconds; nobody may come near that here. (A rank that
// said goodbye once kept the driver's lock from the others until it gave up.)
TEST(Goodbye, RankThatLeavesFirstLetsTheOthersEndTheirOperation) {
  constexpr std::chrono::seconds kGoodbyeTimeout{5};
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> right{0};
    const auto begin = std::chrono::steady_clock::now();
    run_ranks(2, [&](RankOf& self) {
      std::array<float, 1000> data;
      data.fill(static_cast<float>(self.rank + 1));
      ASSERT_EQ(ncclSuccess, ncclAllReduce(data.data(), data.data(), data.size(), ncclFloat,
                                           ncclSum, self.comm, nullptr));
      right += data.front() == 3 && data.back() == 3 ? 1 : 0;
    });
    EXPECT_EQ(right, 2);
    ASSERT_LT(std::chrono::steady_clock::now() - begin, kGoodbyeTimeout) << "round " << round;
  }
}

}  // namespace
}  // namespace railccl::test
