// The oracle is tested with another: fake_reduce reduces the inputs one by one, with its own idea
// of every type.
#include "perftest/common/pattern.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <string>

#include "tests/perftest/fake_reduce.h"

namespace railccl::perftest {
namespace {

using Bytes = std::vector<std::byte>;
constexpr size_t kCount = 257;

struct Inputs {
  std::vector<Bytes> values;   // by rank
  std::vector<Bytes> scalars;  // by rank
};

Inputs inputs_of(const Pattern& pattern, uint64_t begin) {
  const PatternKey& key = pattern.key();
  Inputs inputs;
  for (int rank = 0; rank < key.ranks; ++rank) {
    inputs.values.emplace_back(kCount * type_info(key.type).bytes);
    pattern.input(rank, begin, kCount, inputs.values.back().data());
    inputs.scalars.emplace_back(8);
    pattern.scalar(rank, inputs.scalars.back().data());
  }
  return inputs;
}

Bytes reduced_in_rank_order(const Pattern& pattern, const Inputs& inputs) {
  const PatternKey& key = pattern.key();
  fake_nccl::Reduction reduction{.type = key.type, .op = operator_info(*key.op).nccl};
  for (size_t rank = 0; rank < inputs.values.size(); ++rank) {
    reduction.inputs.push_back(inputs.values[rank].data());
    reduction.scalars.push_back(inputs.scalars[rank].data());
  }
  Bytes result(kCount * type_info(key.type).bytes);
  fake_nccl::reduce_elements(reduction, 0, kCount, result.data());
  return result;
}

// Combines two random partial results at a time, each rounded to the type, until one is left. A
// partial result that is not exact becomes a NaN and shows. Averages are divided last.
Bytes reduced_in_random_order(const Pattern& pattern, Inputs inputs, std::mt19937_64& random) {
  const PatternKey& key = pattern.key();
  const ncclRedOp_t op = operator_info(*key.op).nccl;
  const ncclRedOp_t step = op == ncclAvg || op == ncclNumOps ? ncclSum : op;
  std::vector<Bytes>& values = inputs.values;
  if (op == ncclNumOps) {
    for (size_t rank = 0; rank < values.size(); ++rank) {
      fake_nccl::reduce_elements(
          {key.type, op, {values[rank].data()}, {inputs.scalars[rank].data()}}, 0, kCount,
          values[rank].data());
    }
  }
  while (values.size() > 1) {
    std::swap(values[random() % values.size()], values.back());
    const Bytes last = std::move(values.back());
    values.pop_back();
    Bytes& other = values[random() % values.size()];
    fake_nccl::reduce_elements({key.type, step, {other.data(), last.data()}, {}}, 0, kCount,
                               other.data());
  }
  return values.front();
}

std::string describe(const PatternKey& key) {
  return std::string(type_info(key.type).name) + " " + std::string(operator_info(*key.op).name) +
         " " + std::to_string(key.ranks) + " ranks";
}

std::vector<PatternKey> all_keys() {
  std::vector<PatternKey> keys;
  for (const TypeInfo& type : all_types()) {
    for (const OperatorInfo& op : all_operators()) {
      for (const int ranks : {1, 2, 3, 4, 7, 8, 16, 17, 33, 130, 300}) {
        keys.push_back({type.type, op.op, 7, ranks});
      }
    }
  }
  return keys;
}

TEST(Pattern, ReductionIsThatOfTheInputs) {
  for (const PatternKey& key : all_keys()) {
    const Pattern pattern(key);
    Bytes expected(kCount * type_info(key.type).bytes);
    pattern.reduction(1000, kCount, expected.data());
    ASSERT_EQ(reduced_in_rank_order(pattern, inputs_of(pattern, 1000)), expected) << describe(key);
  }
}

TEST(Pattern, ReductionIsExactInEveryOrder) {
  constexpr uint64_t kSeed = 20261123;
  std::mt19937_64 random(kSeed);
  for (const PatternKey& key : all_keys()) {
    if (key.op == Operator::kAvg || key.ranks > 40) continue;
    const Pattern pattern(key);
    Bytes expected(kCount * type_info(key.type).bytes);
    pattern.reduction(0, kCount, expected.data());
    ASSERT_EQ(reduced_in_random_order(pattern, inputs_of(pattern, 0), random), expected)
        << describe(key) << ", seed " << kSeed;
  }
}

// Partial sums of averages: as sums, with the inputs of the average.
TEST(Pattern, SumsOfAveragesAreExactInEveryOrder) {
  std::mt19937_64 random(3);
  for (const TypeInfo& type : all_types()) {
    for (const int ranks : {2, 5, 8, 16, 33}) {
      const Pattern average({type.type, Operator::kAvg, 1, ranks});
      const Inputs inputs = inputs_of(average, 0);
      fake_nccl::Reduction sum{.type = type.type, .op = ncclSum};
      for (const Bytes& value : inputs.values) sum.inputs.push_back(value.data());
      Bytes expected(kCount * type.bytes);
      fake_nccl::reduce_elements(sum, 0, kCount, expected.data());
      ASSERT_EQ(
          reduced_in_random_order(Pattern({type.type, Operator::kSum, 1, ranks}), inputs, random),
          expected)
          << type.name << " " << ranks;
    }
  }
}

// A library may divide the inputs and not the sum, as NCCL does: that must be exact, too.
TEST(Pattern, AveragesOfFloatsMayDivideFirst) {
  std::mt19937_64 random(4);
  for (const TypeInfo& type : all_types()) {
    if (type.type < ncclFloat16) continue;
    for (const int ranks : {2, 3, 5, 7, 8, 16, 33}) {
      const Pattern average({type.type, Operator::kAvg, 1, ranks});
      // More ranks than the type can count to: the parts cancel, exact or not.
      if (type.bytes == 1 && ranks > 8) continue;
      Inputs inputs = inputs_of(average, 0);
      const Bytes zeros(kCount * type.bytes);
      for (Bytes& value : inputs.values) {
        fake_nccl::Reduction divided{.type = type.type, .op = ncclAvg};
        divided.inputs.assign(static_cast<size_t>(ranks), zeros.data());
        divided.inputs.front() = value.data();
        fake_nccl::reduce_elements(divided, 0, kCount, value.data());
      }
      Bytes expected(kCount * type.bytes);
      average.reduction(0, kCount, expected.data());
      ASSERT_EQ(
          reduced_in_random_order(Pattern({type.type, Operator::kSum, 1, ranks}), inputs, random),
          expected)
          << type.name << " " << ranks;
    }
  }
}

// Leaving any one rank out, or counting it twice, must show somewhere in a few hundred elements.
TEST(Pattern, EveryRankMatters) {
  for (const PatternKey& key : all_keys()) {
    if (key.ranks < 2 || key.ranks > 17 || key.op == Operator::kAvg) continue;
    const Pattern pattern(key);
    Bytes expected(kCount * type_info(key.type).bytes);
    pattern.reduction(0, kCount, expected.data());
    const Inputs inputs = inputs_of(pattern, 0);
    for (size_t left_out = 0; left_out < inputs.values.size(); ++left_out) {
      Inputs fewer = inputs;
      fewer.values.erase(fewer.values.begin() + static_cast<std::ptrdiff_t>(left_out));
      fewer.scalars.erase(fewer.scalars.begin() + static_cast<std::ptrdiff_t>(left_out));
      ASSERT_NE(reduced_in_rank_order(pattern, fewer), expected)
          << describe(key) << " without rank " << left_out;
    }
  }
}

TEST(Pattern, UnreducedInputsDifferByRankSeedAndIndex) {
  const auto input = [](uint64_t seed, int rank, uint64_t begin) {
    Bytes bytes(kCount * 8);
    Pattern({ncclUint64, std::nullopt, seed, 4}).input(rank, begin, kCount, bytes.data());
    return bytes;
  };
  EXPECT_EQ(input(1, 2, 0), input(1, 2, 0));
  EXPECT_NE(input(1, 2, 0), input(1, 3, 0));
  EXPECT_NE(input(1, 2, 0), input(2, 2, 0));
  EXPECT_NE(input(1, 2, 0), input(1, 2, 1));
  // The same elements, whatever the block they are made in.
  const Bytes whole = input(1, 2, 0);
  const Bytes later = input(1, 2, 100);
  EXPECT_TRUE(std::equal(whole.begin() + 800, whole.end(), later.begin()));
}

}  // namespace
}  // namespace railccl::perftest
