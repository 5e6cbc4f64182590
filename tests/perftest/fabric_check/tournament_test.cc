#include "perftest/fabric_check/tournament.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace railccl::perftest::fabric {
namespace {

TEST(Tournament, EveryPairMeetsOnceAndNobodyTwiceInARound) {
  for (int nodes = 0; nodes <= 65; ++nodes) {
    SCOPED_TRACE(nodes);
    std::map<NodePair, int> met;
    const auto rounds = tournament(nodes);
    for (const Round& round : rounds) {
      std::set<int> busy;
      for (const auto& [node, other] : round) {
        ASSERT_LT(node, other);
        ASSERT_TRUE(node >= 0 && other < nodes);
        EXPECT_TRUE(busy.insert(node).second);
        EXPECT_TRUE(busy.insert(other).second);
        ++met[{node, other}];
      }
      // Nobody pauses that need not.
      EXPECT_EQ(round.size(), static_cast<size_t>(nodes / 2));
    }
    EXPECT_EQ(rounds.size(), static_cast<size_t>(nodes < 2 ? 0 : nodes - 1 + nodes % 2));
    EXPECT_EQ(met.size(), static_cast<size_t>(nodes * (nodes - 1) / 2));
    for (const auto& [pair, times] : met) EXPECT_EQ(times, 1) << pair.first << " " << pair.second;
    EXPECT_EQ(all_pairs(nodes).size(), met.size());
  }
}

TEST(Tournament, FewerRoundsAreSpreadOverAll) {
  const auto all = tournament(20);
  EXPECT_EQ(spread_rounds(all, 0), all);
  EXPECT_EQ(spread_rounds(all, 19), all);
  EXPECT_EQ(spread_rounds(all, 100), all);
  const auto three = spread_rounds(all, 3);
  EXPECT_EQ(three, (std::vector<Round>{all[0], all[6], all[12]}));
}

}  // namespace
}  // namespace railccl::perftest::fabric
