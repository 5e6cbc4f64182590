#include "perftest/fabric_check/thresholds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace railccl::perftest::fabric {
namespace {

using testing::HasSubstr;

TEST(Thresholds, AllOfThem) {
  const auto read = parse_thresholds(R"({"format": "railccl-fabric-thresholds-1",
      "tolerance": 0.1, "rails": {"0": {"min_gbps": 90.5, "max_latency_us": 12}, "*": {"min_gbps": 45}},
      "all_rails": {"min_gbps": 130}, "all_at_once": {"min_share": 0.8},
      "drill": {"max_stall_ms": 3000}, "counters": {"symbol_error": 0, "rx_dropped": 100}})",
                                     "t");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->tolerance, 0.1);
  EXPECT_EQ(read->of_rail(0).min_gbps, 90.5);
  EXPECT_EQ(read->of_rail(0).max_latency_us, 12);
  EXPECT_EQ(read->of_rail(3).min_gbps, 45);
  EXPECT_FALSE(read->of_rail(3).max_latency_us);
  EXPECT_EQ(read->all_rails_min_gbps, 130);
  EXPECT_EQ(read->all_at_once_min_share, 0.8);
  EXPECT_EQ(read->drill_max_stall_ms, 3000);
  EXPECT_EQ(read->counters.at("rx_dropped"), 100u);
}

TEST(Thresholds, WhatIsNotGivenIsAsWithoutAFile) {
  const auto read = parse_thresholds(R"({"format": "railccl-fabric-thresholds-1"})", "t");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->tolerance, Thresholds().tolerance);
  EXPECT_FALSE(read->of_rail(0).min_gbps);
  EXPECT_FALSE(read->all_at_once_min_share);
}

TEST(Thresholds, BadFilesAreToldWhatIsWrongAndWhatIsAllowed) {
  const auto document = [](const std::string& rest) {
    return R"({"format": "railccl-fabric-thresholds-1", )" + rest + "}";
  };
  const std::pair<std::string, std::string> rows[] = {
      {"", "f.json is not JSON"},
      {"{\"format\": ", "parse error at line 1, column 12"},
      {"[]", "f.json is not an object"},
      {"{}", "f.json has no \"format\": \"railccl-fabric-thresholds-1\""},
      {R"({"format": "railccl-fabric-thresholds-2"})", "has no \"format\""},
      {document(R"("rials": {})"),
       "f.json.rials is not known, allowed are format, tolerance, rails, all_rails, all_at_once, "
       "drill, counters"},
      {document(R"("tolerance": 2)"), "f.json.tolerance is 2, allowed is a number from 0.01 to"},
      {document(R"("tolerance": "x")"), "f.json.tolerance is \"x\", allowed is a number"},
      {document(R"("rails": [])"), "f.json.rails is not an object"},
      {document(R"("rails": {"eth0": {}})"),
       "f.json.rails.eth0 is not a rail: give its number, \"0\" to \"63\", or \"*\""},
      {document(R"("rails": {"-1": {}})"), "f.json.rails.-1 is not a rail"},
      {document(R"("rails": {"0": {"min": 1}})"), "f.json.rails.0.min is not known"},
      {document(R"("rails": {"0": {"min_gbps": -1}})"), "f.json.rails.0.min_gbps is -1"},
      {document(R"("rails": {"0": 5})"), "f.json.rails.0 is not an object"},
      {document(R"("all_rails": {"share": 1})"), "f.json.all_rails.share is not known"},
      {document(R"("all_at_once": {"min_share": 1.5})"), "allowed is a number from 0 to 1"},
      {document(R"("counters": {"symbol_error": null})"), "counters.symbol_error is null"},
  };
  for (const auto& [text, expected] : rows) {
    const auto read = parse_thresholds(text, "f.json");
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().message, HasSubstr(expected)) << text;
    EXPECT_EQ(read.error().exit, Exit::kUsage);
  }
  EXPECT_THAT(read_thresholds("/no/such/file").error().message,
              HasSubstr("cannot read /no/such/file"));
}

}  // namespace
}  // namespace railccl::perftest::fabric
