// Whether a call is in place is each rank's own affair: some may be, others not. Run with several
// layouts of nodes.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/api/api_world.h"

namespace railccl::test {
namespace {

constexpr int kRanks = 3;
constexpr auto kBlocks = static_cast<size_t>(kRanks);

int32_t value_of(int rank, size_t i) { return rank * 1009 + static_cast<int32_t>(i % 997); }

struct Case {
  size_t count = 0;
  int in_place = 0;  // bit r: rank r
};

class MixedInPlace : public ::testing::TestWithParam<Case> {
 protected:
  // Buffers of `inputs` and `outputs` blocks; in place the smaller one is the rank's block of the
  // other.
  struct Buffers {
    Buffers(const RankOf& self, size_t inputs, size_t outputs)
        : rank(self.rank),
          count(GetParam().count),
          larger(std::max(inputs, outputs) * count),
          smaller(count) {
      const bool in_place = (GetParam().in_place >> self.rank & 1) != 0;
      const size_t own = static_cast<size_t>(self.rank) * count;
      int32_t* const part = inputs == outputs ? larger.data() : larger.data() + own;
      input = in_place && inputs < outputs ? part : larger.data();
      output = in_place && outputs < inputs ? part : larger.data();
      if (!in_place && inputs < outputs) input = smaller.data();
      if (!in_place && inputs >= outputs) output = smaller.data();
      for (size_t i = 0; i < inputs * count; ++i) input[i] = value_of(self.rank, i);
    }
    int rank;
    size_t count;
    std::vector<int32_t> larger;
    std::vector<int32_t> smaller;
    int32_t* input = nullptr;
    int32_t* output = nullptr;
  };

  template <class Expected>
  static void expect(const Buffers& buffers, size_t blocks, const Expected& expected) {
    size_t wrong = 0;
    for (size_t block = 0; block < blocks; ++block) {
      for (size_t i = 0; i < buffers.count; ++i) {
        wrong += buffers.output[block * buffers.count + i] != expected(block, i);
      }
    }
    EXPECT_EQ(wrong, 0U) << "rank " << buffers.rank << " block 0 has " << buffers.output[0];
  }
  static int32_t sum_of(size_t i) {
    int32_t sum = 0;
    for (int rank = 0; rank < kRanks; ++rank) sum += value_of(rank, i);
    return sum;
  }
};

TEST_P(MixedInPlace, AllReduce) {
  run_ranks(kRanks, [](RankOf& self) {
    const Buffers b(self, 1, 1);
    ASSERT_EQ(ncclAllReduce(b.input, b.output, b.count, ncclInt32, ncclSum, self.comm, nullptr),
              ncclSuccess);
    expect(b, 1, [](size_t, size_t i) { return sum_of(i); });
  });
}

TEST_P(MixedInPlace, Broadcast) {
  run_ranks(kRanks, [](RankOf& self) {
    const Buffers b(self, 1, 1);
    ASSERT_EQ(ncclBroadcast(b.input, b.output, b.count, ncclInt32, 1, self.comm, nullptr),
              ncclSuccess);
    expect(b, 1, [](size_t, size_t i) { return value_of(1, i); });
  });
}

// Where a rank's buffer does not count it may be anything.
TEST_P(MixedInPlace, BroadcastAndReduceWithoutUnusedBuffers) {
  run_ranks(kRanks, [](RankOf& self) {
    const Buffers b(self, 1, 1);
    const bool root = self.rank == 2;
    ASSERT_EQ(ncclReduce(b.input, root ? b.output : nullptr, b.count, ncclInt32, ncclSum, 2,
                         self.comm, nullptr),
              ncclSuccess);
    if (root) expect(b, 1, [](size_t, size_t i) { return sum_of(i); });
    ASSERT_EQ(ncclBroadcast(root ? b.output : nullptr, b.output, b.count, ncclInt32, 2, self.comm,
                            nullptr),
              ncclSuccess);
    expect(b, 1, [](size_t, size_t i) { return sum_of(i); });
  });
}

TEST_P(MixedInPlace, AllGather) {
  run_ranks(kRanks, [](RankOf& self) {
    const Buffers b(self, 1, kBlocks);
    ASSERT_EQ(ncclAllGather(b.input, b.output, b.count, ncclInt32, self.comm, nullptr),
              ncclSuccess);
    expect(b, kBlocks, [](size_t r, size_t i) { return value_of(static_cast<int>(r), i); });
  });
}

TEST_P(MixedInPlace, ReduceScatter) {
  run_ranks(kRanks, [](RankOf& self) {
    const Buffers b(self, kBlocks, 1);
    ASSERT_EQ(ncclReduceScatter(b.input, b.output, b.count, ncclInt32, ncclSum, self.comm, nullptr),
              ncclSuccess);
    const size_t own = static_cast<size_t>(self.rank) * b.count;
    expect(b, 1, [own](size_t, size_t i) { return sum_of(own + i); });
  });
}

INSTANTIATE_TEST_SUITE_P(CountsAndRanks, MixedInPlace,
                         ::testing::Values(Case{1, 1}, Case{5'000, 2}, Case{5'000, 5},
                                           Case{300'000, 1}, Case{300'000, 6}, Case{1'500'000, 2},
                                           Case{1'500'000, 5}));

}  // namespace
}  // namespace railccl::test
