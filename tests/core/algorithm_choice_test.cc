// RAILCCL_ALGO: what each form lets through, and what wrong words get.
#include "src/core/algorithm_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/base/types.h"

namespace railccl {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> of(const std::vector<std::vector<std::string>>& choice,
                            Collective collective) {
  return choice[static_cast<size_t>(collective)];
}

TEST(AlgorithmChoice, EmptyAllowsAll) {
  const auto choice = parse_algorithm_choice("");
  ASSERT_TRUE(choice);
  for (const auto& names : *choice) EXPECT_THAT(names, IsEmpty());
}

TEST(AlgorithmChoice, AListIsForEveryCollectiveThatHasIt) {
  const auto choice = parse_algorithm_choice("Ring,TREE");
  ASSERT_TRUE(choice);
  EXPECT_THAT(of(*choice, Collective::kAllReduce), ::testing::UnorderedElementsAre("ring", "tree"));
  EXPECT_THAT(of(*choice, Collective::kAllGather), ElementsAre("ring"));
  // Has neither: stays free, as in NCCL.
  EXPECT_THAT(of(*choice, Collective::kAllToAll), IsEmpty());
}

TEST(AlgorithmChoice, SingleCollectivesAndInversion) {
  const auto choice = parse_algorithm_choice("allreduce:^ring;broadcast:tree");
  ASSERT_TRUE(choice);
  EXPECT_THAT(of(*choice, Collective::kAllReduce), Not(Contains("ring")));
  EXPECT_THAT(of(*choice, Collective::kAllReduce), Contains("tree"));
  EXPECT_THAT(of(*choice, Collective::kBroadcast), ElementsAre("tree"));
  EXPECT_THAT(of(*choice, Collective::kReduce), IsEmpty());
}

TEST(AlgorithmChoice, UnknownWordsAreNamedWithTheKnownOnes) {
  const auto algorithm = parse_algorithm_choice("rnig");
  ASSERT_FALSE(algorithm);
  EXPECT_THAT(std::string(algorithm.error().message()), HasSubstr("\"rnig\""));
  EXPECT_THAT(std::string(algorithm.error().message()), HasSubstr("ring"));
  const auto collective = parse_algorithm_choice("allredcue:ring");
  ASSERT_FALSE(collective);
  EXPECT_THAT(std::string(collective.error().message()), HasSubstr("\"allredcue\""));
  const auto nothing = parse_algorithm_choice("alltoall:ring");
  ASSERT_FALSE(nothing);
  EXPECT_THAT(std::string(nothing.error().message()), HasSubstr("AlltoAll"));
}

}  // namespace
}  // namespace railccl
