#include "perftest/fabric_check/wire.h"

#include <gmock/gmock.h>

namespace railccl::perftest::fabric {
namespace {

using testing::HasSubstr;

template <typename T>
void expect_refused(const Json& document, const std::string& why) {
  const auto read = from_answer<T>({{"ok", document}});
  ASSERT_FALSE(read) << document;
  EXPECT_THAT(read.error().message, HasSubstr("an answer that makes no sense"));
  EXPECT_THAT(read.error().message, HasSubstr(why));
}

// `value`, all of whose members differ from their defaults, is written as `text` and read from it;
// without a member, or with null for it, the text is refused.
template <typename T>
void expect_only_whole(const T& value, const std::string& text) {
  const Json whole = Json::parse(text);
  EXPECT_EQ(Json(value), whole);
  const auto read = from_answer<T>({{"ok", whole}});
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(Json(*read), whole);
  for (const auto& member : whole.items()) {
    Json part = whole;
    part.erase(member.key());
    expect_refused<T>(part, "'" + member.key() + "' not found");
    part[member.key()] = nullptr;
    expect_refused<T>(part, "null");
  }
  for (const char* other : {"null", "7", "\"text\"", "[1, 2]"}) {
    expect_refused<T>(Json::parse(other), "");
  }
}

TEST(FabricWire, ValuesAreReadOnlyWhole) {
  expect_only_whole(
      Rail{.name = "eth1", .transport = "tcp", .address = "10.1.0.1", .subnet = "10.1.0.0/24"},
      R"({"name": "eth1", "transport": "tcp", "address": "10.1.0.1", "subnet": "10.1.0.0/24"})");
  const PairValue failed{.state = PairState::kFailed,
                         .gbps = 1.5,
                         .latency_us = 2.5,
                         .wrong = uint64_t{1} << 60,
                         .error = "it broke"};
  const std::string failed_text = R"({"state": 3, "gbps": 1.5, "latency_us": 2.5,
                                      "wrong": 1152921504606846976, "error": "it broke"})";
  expect_only_whole(failed, failed_text);
  expect_only_whole(PairSide{.rails = {failed, failed}, .all_rails = failed},
                    R"({"rails": [)" + failed_text + "," + failed_text + R"(],
                        "all_rails": )" +
                        failed_text + "}");
  expect_only_whole(
      CollectiveResult{
          .name = "all_reduce", .bytes = 1024, .time_us = 3.5, .bus_gbps = 4.5, .wrong = 5},
      R"({"name": "all_reduce", "bytes": 1024, "time_us": 3.5, "bus_gbps": 4.5, "wrong": 5})");
  expect_only_whole(DrillResult{.rail = 1,
                                .operations = 2,
                                .wrong = 3,
                                .usual_ms = 4.5,
                                .stall_ms = 5.5,
                                .went_down = true,
                                .came_back = true,
                                .back_after_ms = 6.5,
                                .replayed_bytes = 7,
                                .left_out = "too few"},
                    R"({"rail": 1, "operations": 2, "wrong": 3, "usual_ms": 4.5, "stall_ms": 5.5,
                        "went_down": true, "came_back": true, "back_after_ms": 6.5,
                        "replayed_bytes": 7, "left_out": "too few"})");
}

TEST(FabricWire, AStateThatThereIsNotIsRefused) {
  Json value = PairValue{.state = PairState::kUnreachable, .gbps = 0, .latency_us = 0, .error = ""};
  EXPECT_TRUE(from_answer<PairValue>({{"ok", value}}));
  for (const char* state : {"-1", "4", "4294967297", "1e300", "null", "1.5", "true", "\"up\""}) {
    value["state"] = Json::parse(state);
    expect_refused<PairValue>(value, "");
  }
}

TEST(FabricWire, WhatALeaderSaysOfNodesMayHaveMoreThanIsAsked) {
  const auto read = from_answer<Description>(Json::parse(
      R"({"ok": {"host": "a", "nodes": [{"host": "a", "ranks": [0, 1], "more": 1}], "rails": []}})"));
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->nodes.size(), 1u);
  EXPECT_EQ(read->nodes[0].host, "a");
  EXPECT_EQ(read->nodes[0].ranks, (std::vector<int>{0, 1}));
  expect_refused<Description>(Json::parse(R"({"nodes": [{"host": "a"}], "rails": []})"), "ranks");
}

TEST(FabricWire, AnErrorIsPassedOnAndRubbishIsRefused) {
  EXPECT_EQ(from_answer<Rail>({{"error", "no rail"}}).error().message, "no rail");
  for (const char* rubbish : {"null", "7", "[]", "{}", R"({"error": 5})", R"({"ok": {}})"}) {
    const auto read = from_answer<Rail>(Json::parse(rubbish));
    ASSERT_FALSE(read) << rubbish;
    EXPECT_THAT(read.error().message, HasSubstr("an answer that makes no sense"));
  }
}

}  // namespace
}  // namespace railccl::perftest::fabric
