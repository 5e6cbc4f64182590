#include "perftest/rail_perf/meeting.h"

#include <gmock/gmock.h>

namespace railccl::perftest::railperf {
namespace {

using testing::HasSubstr;

// Four ranks on three nodes: a, b, b, c.
const std::vector<NodeInfo> kRanks = {{.host = "a", .rails = {}},
                                      {.host = "b", .rails = {}},
                                      {.host = "b", .rails = {}},
                                      {.host = "c", .rails = {}}};
const std::vector<int> kNodes = {0, 1, 1, 2};

void expect_pair(const std::vector<std::string>& asked, int first_rank, int second_rank) {
  const auto pair = choose_pair(kRanks, kNodes, asked);
  ASSERT_TRUE(pair) << pair.error().message;
  EXPECT_EQ((*pair)[0].rank, first_rank);
  EXPECT_EQ((*pair)[1].rank, second_rank);
}

TEST(ChoosePair, FirstRanksOfTheFirstTwoNodes) { expect_pair({}, 0, 1); }

TEST(ChoosePair, ByNumberOrName) {
  expect_pair({"2", "1"}, 3, 1);
  expect_pair({"c", "a"}, 3, 0);
  expect_pair({"b", "2"}, 1, 3);
}

TEST(ChoosePair, WhatIsNotThereIsNamed) {
  EXPECT_THAT(choose_pair(kRanks, kNodes, {"0", "3"}).error().message, HasSubstr("no node '3'"));
  EXPECT_THAT(choose_pair(kRanks, kNodes, {"d", "0"}).error().message, HasSubstr("no node 'd'"));
  EXPECT_THAT(choose_pair(kRanks, kNodes, {"b", "1"}).error().message, HasSubstr("the same node"));
  const auto one = choose_pair({kRanks[1], kRanks[2]}, {0, 0}, {});
  ASSERT_FALSE(one);
  EXPECT_EQ(one.error().exit, Exit::kUsage);
  EXPECT_THAT(one.error().message, HasSubstr("--virtual-nodes 2"));
}

}  // namespace
}  // namespace railccl::perftest::railperf
