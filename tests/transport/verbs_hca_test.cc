// NCCL_IB_HCA's syntax.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/verbs/hca_selection.h"

namespace railccl::verbs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::vector<HcaPort> kPorts = {
    {"mlx5_0", 1}, {"mlx5_0", 2}, {"mlx5_1", 1}, {"mlx5_10", 1}, {"rxe0", 1}};

std::vector<std::string> chosen(std::string_view spec) {
  const auto selection = select_ports(spec, kPorts);
  if (!selection) {
    ADD_FAILURE() << selection.error().message();
    return {};
  }
  EXPECT_THAT(selection->warnings, IsEmpty());
  std::vector<std::string> names;
  for (const size_t index : selection->ports) names.push_back(kPorts[index].name());
  return names;
}

TEST(VerbsHca, NothingSaidMeansAllPortsInTheirOrder) {
  EXPECT_THAT(chosen(""), ElementsAre("mlx5_0:1", "mlx5_0:2", "mlx5_1:1", "mlx5_10:1", "rxe0:1"));
}

TEST(VerbsHca, ItemsArePrefixesAndOrderTheRails) {
  EXPECT_THAT(chosen("rxe,mlx5_1"), ElementsAre("rxe0:1", "mlx5_1:1", "mlx5_10:1"));
  EXPECT_THAT(chosen("mlx5_0:2,mlx5_0"), ElementsAre("mlx5_0:2", "mlx5_0:1"));
}

TEST(VerbsHca, EqualSignTakesWholeNames) {
  EXPECT_THAT(chosen("=mlx5_1"), ElementsAre("mlx5_1:1"));
  EXPECT_THAT(chosen("=mlx5_0:2,rxe0"), ElementsAre("mlx5_0:2", "rxe0:1"));
}

TEST(VerbsHca, CaretLeavesOut) {
  EXPECT_THAT(chosen("^mlx5_1"), ElementsAre("mlx5_0:1", "mlx5_0:2", "rxe0:1"));
  EXPECT_THAT(chosen("^=mlx5_1,mlx5_0:1"), ElementsAre("mlx5_0:2", "mlx5_10:1", "rxe0:1"));
  EXPECT_THAT(chosen("^mlx5,rxe"), IsEmpty());
}

TEST(VerbsHca, APrefixOfNothingWarnsAndAWholeNameOfNothingIsAnError) {
  const auto selection = select_ports("mlx4,rxe0", kPorts);
  ASSERT_TRUE(selection) << selection.error().message();
  EXPECT_THAT(selection->ports, ElementsAre(4U));
  EXPECT_THAT(selection->warnings, ElementsAre(HasSubstr("mlx4")));
  const auto refused = select_ports("=rxe", kPorts);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
  EXPECT_THAT(std::string(refused.error().message()), HasSubstr("mlx5_10:1"));
}

TEST(VerbsHca, WhatNamesNoPortIsRefused) {
  for (const char* spec :
       {"mlx5_0:", "mlx5_0:0", "mlx5_0:256", "mlx5_0:1x", ":1", "mlx5_0,,rxe0"}) {
    const auto refused = select_ports(spec, kPorts);
    ASSERT_FALSE(refused) << spec;
    EXPECT_EQ(refused.error().code(), Code::kInvalidArgument) << spec;
  }
}

}  // namespace
}  // namespace railccl::verbs
