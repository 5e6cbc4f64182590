// Which rails a process opens, with an RDMA machine of the test's own beside the real loopback
// interface: transports, the last resort, and what is left out.
#include "src/core/wiring.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/base/settings_source.h"
#include "src/core/rail_plan.h"
#include "tests/transport/fake_verbs.h"

namespace railccl {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::FakeVerbs;
using Environment = FixedSettingsSource::Map;

class Wiring : public testing::Test {
 protected:
  Result<std::vector<std::unique_ptr<Rail>>> open(Environment environment) {
    environment.try_emplace("RAILCCL_SOCKET_IFNAME", "=lo");
    RAILCCL_ASSIGN(const Settings settings, load_settings(FixedSettingsSource(environment)));
    return open_rails(settings, &fake_.api());
  }
  std::vector<std::string> names(const Environment& environment) {
    const auto rails = open(environment);
    std::vector<std::string> found;
    if (!rails) found.emplace_back(rails.error().message());
    for (size_t i = 0; rails && i < rails->size(); ++i) found.push_back((*rails)[i]->info().name);
    return found;
  }
  std::string refusal(const Environment& environment) {
    const auto rails = open(environment);
    return rails ? "no refusal" : std::string(rails.error().message());
  }

  FakeVerbs fake_;
};

TEST_F(Wiring, TcpStandsByBesideRdmaUnlessThatIsForbidden) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  fake_.add_device("mlx5_1", "10.2.0.1");
  EXPECT_THAT(names({}), ElementsAre("mlx5_0:1", "mlx5_1:1", "lo"));
  EXPECT_THAT(names({{"RAILCCL_TRANSPORT", "verbs"}}), ElementsAre("mlx5_0:1", "mlx5_1:1", "lo"));
  EXPECT_THAT(names({{"RAILCCL_TCP_FALLBACK", "0"}}), ElementsAre("mlx5_0:1", "mlx5_1:1"));
  EXPECT_THAT(names({{"RAILCCL_TRANSPORT", "tcp"}}), ElementsAre("lo"));
  EXPECT_THAT(names({{"NCCL_IB_DISABLE", "1"}}), ElementsAre("lo"));
}

TEST_F(Wiring, RailsByNameAreThoseAndNoOthers) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  EXPECT_THAT(names({{"RAILCCL_RAILS", "lo,mlx5_0:1"}}), ElementsAre("lo", "mlx5_0:1"));
  EXPECT_THAT(names({{"RAILCCL_RAILS", "mlx5_0:1"}}), ElementsAre("mlx5_0:1"));
  EXPECT_THAT(refusal({{"RAILCCL_RAILS", "mlx5_7:1"}}),
              AllOf(HasSubstr("mlx5_7:1"), HasSubstr("mlx5_0:1, lo")));
  EXPECT_THAT(refusal({{"RAILCCL_RAILS", "lo,mlx5_0:1,lo"}}), HasSubstr("each once"));
}

TEST_F(Wiring, MoreRailsThanPeersExpectAreLeftOutAndThatIsSaid) {
  for (size_t i = 0; i < kMaxRails + 1; ++i) {
    fake_.add_device(fmt::format("mlx5_{}", i), fmt::format("10.{}.0.1", i + 1));
  }
  testing::internal::CaptureStderr();
  const auto used = names({});
  const std::string said = testing::internal::GetCapturedStderr();
  ASSERT_EQ(used.size(), kMaxRails);
  EXPECT_EQ(used.front(), "mlx5_0:1");
  EXPECT_EQ(used.back(), fmt::format("mlx5_{}:1", kMaxRails - 1));
  EXPECT_THAT(said, AllOf(HasSubstr("34 rails were found, 32 are used"),
                          HasSubstr("from mlx5_32:1 on"), HasSubstr("RAILCCL_RAILS")));
}

TEST_F(Wiring, WithoutAnRdmaRailAutoIsTcpAndVerbsIsAnErrorThatSaysWhy) {
  EXPECT_THAT(names({}), ElementsAre("lo"));
  EXPECT_THAT(refusal({{"RAILCCL_TRANSPORT", "verbs"}}), HasSubstr("finds no RDMA device"));
  fake_.add_device("mlx5_0", "10.1.0.1").open_errno = EACCES;
  EXPECT_THAT(names({}), ElementsAre("lo"));
  EXPECT_THAT(refusal({{"RAILCCL_TRANSPORT", "verbs"}}), HasSubstr("no permission"));
}

TEST_F(Wiring, RailsThatCannotLockMemoryAreLeftOut) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  fake_.register_errno = ENOMEM;
  EXPECT_THAT(names({}), ElementsAre("lo"));
  EXPECT_THAT(refusal({{"RAILCCL_TCP_FALLBACK", "0"}}), HasSubstr("ulimit -l"));
  EXPECT_THAT(refusal({{"RAILCCL_RAILS", "mlx5_0:1,lo"}}), HasSubstr("ulimit -l"));
}

TEST_F(Wiring, AsManyQueuePairsAsAnAddressHolds) {
  fake_.add_device("mlx5_0", "10.1.0.1");
  EXPECT_THAT(names({{"NCCL_IB_QPS_PER_CONNECTION", "32"}}), ElementsAre("mlx5_0:1", "lo"));
  EXPECT_THAT(refusal({{"NCCL_IB_QPS_PER_CONNECTION", "33"}}),
              AllOf(HasSubstr("IB_QPS_PER_CONNECTION"), HasSubstr("1 to 32")));
}

RailSummary rail(TransportKind transport, uint8_t index) {
  return {.transport = transport, .index = index};
}

using Rails = std::vector<RailSummary>;
constexpr auto kVerbs = TransportKind::kVerbs;
constexpr auto kTcp = TransportKind::kTcp;
using Pair = std::array<int, 3>;

std::vector<Pair> pairs(const Rails& mine, const Rails& theirs) {
  std::vector<Pair> list;
  for (const LinkOptions::Pair& pair : plan_pairs(mine, theirs, CrossRail::kAligned)) {
    list.push_back({pair.local_rail, pair.peer_rail, pair.tier});
  }
  return list;
}

TEST(RailPlan, TcpIsTheLastTierAndAllThatIsLeftWithoutRdma) {
  const Rails both = {rail(kVerbs, 0), rail(kVerbs, 1), rail(kTcp, 2)};
  const Rails one_verbs = {rail(kTcp, 0), rail(kVerbs, 1)};
  const Rails only_tcp = {rail(kTcp, 0)};
  EXPECT_THAT(pairs(both, both), ElementsAre(Pair{0, 0, 0}, Pair{1, 1, 0}, Pair{2, 2, 1}));
  EXPECT_THAT(pairs(both, one_verbs), ElementsAre(Pair{0, 1, 0}, Pair{2, 0, 1}));
  EXPECT_THAT(pairs(both, only_tcp), ElementsAre(Pair{2, 0, 1}));
}

TEST(RailPlan, RailsThatOneSideHasMoreAreNamed) {
  const Rails two = {rail(kVerbs, 0), rail(kVerbs, 1), rail(kTcp, 2)};
  const Rails one = {rail(kVerbs, 0), rail(kTcp, 1)};
  const auto unpaired = [](const Rails& mine, const Rails& theirs, CrossRail cross) {
    return explain_unpaired(mine, theirs, plan_pairs(mine, theirs, cross));
  };
  EXPECT_EQ(unpaired(two, one, CrossRail::kAligned),
            "1 of 3 rails here (2 verbs, 1 tcp) and 0 of 2 there (1 verbs, 1 tcp)");
  EXPECT_EQ(unpaired(one, two, CrossRail::kAligned),
            "0 of 2 rails here (1 verbs, 1 tcp) and 1 of 3 there (2 verbs, 1 tcp)");
  EXPECT_EQ(unpaired(two, one, CrossRail::kAllowed), "");
  EXPECT_EQ(unpaired(two, two, CrossRail::kAligned), "");
}

TEST(RailPlan, PeersThatHaveNothingInCommonSayWhatTheyHave) {
  const Rails only_verbs = {rail(kVerbs, 0), rail(kVerbs, 1)};
  const Rails only_tcp = {rail(kTcp, 0)};
  EXPECT_TRUE(pairs(only_verbs, only_tcp).empty());
  EXPECT_EQ(explain_no_pair(0, only_verbs, 3, only_tcp), "rank 0 has 2 verbs, rank 3 has 1 tcp");
  EXPECT_EQ(explain_no_pair(0, {}, 3, only_tcp), "rank 0 has no rail, rank 3 has 1 tcp");
}

}  // namespace
}  // namespace railccl
