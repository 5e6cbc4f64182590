#include "src/core/node_info.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace railccl {
namespace {

using ::testing::ElementsAre;

NodeInfo on(uint64_t machine, bool can_share = true) {
  NodeInfo info;
  info.node_id = machine;
  info.can_share = can_share;
  return info;
}

TEST(NodeInfo, RanksOfOneMachineAreOneNode) {
  const std::vector<NodeInfo> infos = {on(7), on(9), on(7), on(9)};
  EXPECT_THAT(number_nodes(infos, 0), ElementsAre(0, 1, 0, 1));
}

TEST(NodeInfo, RanksPerNodeCutsAMachineIntoNodesOfConsecutiveRanks) {
  const std::vector<NodeInfo> infos = {on(7), on(9), on(7), on(7), on(9), on(7), on(7)};
  EXPECT_THAT(number_nodes(infos, 2), ElementsAre(0, 1, 0, 2, 1, 2, 3));
  EXPECT_THAT(number_nodes(infos, 1), ElementsAre(0, 1, 2, 3, 4, 5, 6));
}

TEST(NodeInfo, RanksThatMayNotShareMemoryAreAlone) {
  const std::vector<NodeInfo> infos = {on(7), on(7, false), on(7), on(7, false)};
  EXPECT_THAT(number_nodes(infos, 0), ElementsAre(0, 1, 0, 2));
}

TEST(NodeInfo, SurvivesItsJourney) {
  NodeInfo info = on(7);
  info.host = "host-a";
  info.pid = 42;
  info.configuration = 0xabcdef;
  info.rails = {{.transport = TransportKind::kTcp, .index = 1, .megabits_per_second = 25000}};
  const auto back = unpack_node_info(pack(info));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->host, "host-a");
  EXPECT_EQ(back->configuration, 0xabcdefu);
  ASSERT_EQ(back->rails.size(), 1u);
  EXPECT_EQ(back->rails[0].megabits_per_second, 25000u);
  const std::vector<std::byte> packed = pack(info);
  EXPECT_FALSE(unpack_node_info(std::span(packed).first(30)));
}

}  // namespace
}  // namespace railccl
