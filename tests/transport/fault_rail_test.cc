// The fault decorator: each fault does what it says, and the link survives it.
#include "transport/faults/fault_rail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/transport/link_soak.h"
#include "tests/transport/link_world.h"

namespace railccl::testing_support {
namespace {

using testing::HasSubstr;
using Kind = FaultPlan::Kind;

TEST(FaultPlans, AreParsed) {
  const auto plans =
      parse_fault_plans("fail@100,lose@3,blackhole@500,down@7,busy@20x5,delay@0x3,corrupt@9");
  ASSERT_TRUE(plans) << plans.error().message();
  ASSERT_EQ(plans->size(), 7u);
  EXPECT_EQ((*plans)[0].kind, Kind::kFail);
  EXPECT_EQ((*plans)[0].after_puts, 100u);
  EXPECT_EQ((*plans)[4].kind, Kind::kBackPressure);
  EXPECT_EQ((*plans)[4].after_puts, 20u);
  EXPECT_EQ((*plans)[4].count, 5u);
  EXPECT_TRUE(parse_fault_plans("")->empty());
}

TEST(FaultPlans, BadOnesAreRefusedByName) {
  for (const std::string text : {"fail", "explode@3", "fail@", "fail@x", "busy@1x", "fail@1,,", "@",
                                 "fail@99999999999999999999"}) {
    const auto plans = parse_fault_plans(text);
    ASSERT_FALSE(plans) << text;
    EXPECT_EQ(plans.error().code(), Code::kInvalidArgument);
    EXPECT_THAT(std::string(plans.error().message()), HasSubstr("fault '"));
  }
}

struct Case {
  std::string name;
  std::string sender;    // plans of rail 0 of rank 0
  std::string receiver;  // plans of rail 0 of rank 1
  bool fails_over = true;
};
void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }
std::string case_name(const testing::TestParamInfo<Case>& info) { return info.param.name; }

class LinkOverFaultRails : public testing::TestWithParam<Case> {};

TEST_P(LinkOverFaultRails, EverythingArrivesOnce) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    LinkWorldOptions options = quick_world(seed, 2);
    options.decorate = [](int rank, int rail, std::unique_ptr<Rail> inner) {
      if (rail != 0) return inner;
      auto plans = parse_fault_plans(rank == 0 ? GetParam().sender : GetParam().receiver);
      return std::move(*make_fault_rail(std::move(inner), std::move(*plans)));
    };
    LinkWorld world(options);
    world.connect();
    LinkSoak soak(world, {.seed = seed});
    EXPECT_TRUE(soak.run(20 * kSecond)) << world.describe();
    world.run_for(20 * kMillisecond);
    soak.check();
    EXPECT_EQ(world.failures(0) + world.failures(1) > 0, GetParam().fails_over) << world.describe();
    world.close_both();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Faults, LinkOverFaultRails,
    testing::Values(Case{"Fail", "fail@20", ""}, Case{"FailAtTheReceiver", "", "fail@10"},
                    Case{"LoseCompletion", "lose@20", ""}, Case{"Blackhole", "blackhole@30", ""},
                    Case{"PortDown", "down@25", ""},
                    Case{"SeveralInARow", "fail@10,lose@20,fail@30,down@40", "fail@15"},
                    Case{"BothSides", "blackhole@10", "blackhole@12"},
                    Case{"Busy", "busy@5x10,busy@30x30", "busy@3x4", false},
                    Case{"Delayed", "delay@0x7", "delay@0x3", false}),
    case_name);

}  // namespace
}  // namespace railccl::testing_support
