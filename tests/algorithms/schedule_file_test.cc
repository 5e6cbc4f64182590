// A user's schedules: what is written can be read again, and bad text is refused by name.
#include "algorithms/schedule_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/algorithms/shapes.h"

namespace railccl {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A broadcast of 8 elements from rank 0 of two, in the form that docs/algorithms.md describes.
constexpr std::string_view kBroadcast = R"({
  "format": "railccl-schedules-1",
  "collective": "Broadcast",
  "nodes": [0, 1],
  "root": 0,
  "block": 8,
  "piece": 8,
  "ranks": [
    {"scratch": 0, "steps": [
      {"do": "put", "peer": 1, "tag": 5, "count": 8, "from": [["input", 0]], "to": [["output", 0]]},
      {"do": "copy", "count": 8, "from": [["input", 0]], "to": [["output", 0]]}]},
    {"scratch": 0, "steps": [{"do": "wait", "peer": 0, "tag": 5}]}
  ]
})";

std::string replaced(std::string_view what, std::string_view with) {
  std::string text(kBroadcast);
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

std::string refusal(const std::string& text) {
  const auto result = read_schedules(text);
  return result ? "accepted" : std::string(result.error().message());
}

TEST(ScheduleFile, ReadsWhatTheDocumentationShows) {
  const auto set = read_schedules(kBroadcast);
  ASSERT_TRUE(set) << set.error().message();
  EXPECT_EQ(to_string(set->ranks[0]),
            "scratch 0\n"
            "0: put 8 input[0] -> rank 1 output[0] tag 5\n"
            "1: copy 8 input[0] -> output[0]\n");
  EXPECT_EQ(to_string(set->ranks[1]), "scratch 0\n0: wait rank 0 tag 5\n");
}

TEST(ScheduleFile, EveryAlgorithmSurvivesTheRoundTrip) {
  for (const Algorithm& algorithm : catalog()) {
    for (const NamedLayout& layout : layouts_of(5)) {
      const Shape shape{.collective = algorithm.collective,
                        .layout = layout.layout,
                        .root = 3,
                        .block = 37,
                        .piece = 37,
                        .max_piece = 37};
      if (!algorithm.unsuitable(shape).empty()) continue;
      const ScheduleSet set = generate_all(algorithm, shape);
      const std::string text = write_schedules(set);
      const auto again = read_schedules(text);
      ASSERT_TRUE(again) << describe(algorithm, shape, layout) << ": " << again.error().message();
      EXPECT_EQ(write_schedules(*again), text);
      for (size_t rank = 0; rank < set.ranks.size(); ++rank) {
        EXPECT_EQ(to_string(again->ranks[rank]), to_string(set.ranks[rank]));
      }
    }
  }
}

TEST(ScheduleFile, ErrorsNameThePlace) {
  EXPECT_THAT(refusal("{\n\"format\": ["), AllOf(HasSubstr("not JSON"), HasSubstr("line 2")));
  EXPECT_THAT(refusal("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal(replaced("schedules-1", "schedules-2")),
              HasSubstr("format: expected one of railccl-schedules-1, found"));
  EXPECT_THAT(refusal(replaced("\"root\": 0,", "")), HasSubstr("\"root\" is missing"));
  EXPECT_THAT(refusal(replaced("\"root\"", "\"boot\": 1, \"root\"")),
              HasSubstr("unknown key \"boot\""));
  EXPECT_THAT(refusal(replaced("\"root\"", "\"root\": 0, \"root\"")), HasSubstr("\"root\" twice"));
  EXPECT_THAT(refusal(replaced("\"root\": 0", "\"root\": 2")),
              HasSubstr("root: expected a whole number from 0 to 1, found 2"));
  EXPECT_THAT(refusal(replaced("\"Broadcast\"", "\"Broadcasts\"")),
              HasSubstr("collective: expected one of AllReduce"));
  EXPECT_THAT(refusal(replaced("[0, 1]", "[0, -1]")), HasSubstr("nodes[1]: expected a whole"));
  EXPECT_THAT(refusal(replaced("[0, 1]", "[]")), HasSubstr("nodes: expected the node of each"));
  EXPECT_THAT(refusal(replaced("[0, 1]", "[0, 1, 2]")), HasSubstr("ranks: 2 schedules"));
  EXPECT_THAT(refusal(replaced("\"put\"", "\"push\"")),
              HasSubstr("ranks[0].steps[0].do: expected one of put, signal, wait, reduce, copy"));
  EXPECT_THAT(refusal(replaced("\"peer\": 1", "\"peer\": 1.5")),
              HasSubstr("ranks[0].steps[0].peer: expected a whole number"));
  EXPECT_THAT(refusal(replaced("\"tag\": 5, \"count\"", "\"count\"")),
              HasSubstr("ranks[0].steps[0]: \"tag\" is missing"));
  EXPECT_THAT(refusal(replaced("[\"input\", 0]", "[\"inputs\", 0]")),
              HasSubstr("ranks[0].steps[0].from[0][0]: expected one of input, output, scratch"));
  EXPECT_THAT(refusal(replaced("[\"input\", 0]", "[\"input\"]")),
              HasSubstr("ranks[0].steps[0].from[0]: expected [buffer, offset]"));
  EXPECT_THAT(refusal(replaced("[\"input\", 0]", "[\"input\", 0, 9]")),
              HasSubstr("ranks[0].steps[0].from[0][2]: expected a whole number from 0 to 1"));
  EXPECT_THAT(refusal(replaced("{\"do\": \"wait\",", "{\"do\": \"wait\", \"count\": 8,")),
              HasSubstr("ranks[1].steps[0]: unknown key \"count\""));
  EXPECT_THAT(refusal(replaced("\"scratch\": 0", "\"scratch\": 18446744073709551615")),
              HasSubstr("ranks[0].scratch: expected a whole number"));
}

TEST(ScheduleFile, WrongSchedulesAreNotAccepted) {
  EXPECT_THAT(refusal(replaced("\"peer\": 0, \"tag\": 5", "\"peer\": 0, \"tag\": 6")),
              HasSubstr("rank 0 step 0: rank 1 never waits for its notification 5"));
  EXPECT_THAT(refusal(replaced("\"count\": 8, \"from\"", "\"count\": 7, \"from\"")),
              HasSubstr("rank 1 at the end: output elements 7 to 8"));
}

// Damaged files are refused or harmless, never a crash.
TEST(ScheduleFile, DamagedTextIsHarmless) {
  const ScheduleSet set = generate_all(*find_algorithm(Collective::kAllReduce, "ring"),
                                       {.collective = Collective::kAllReduce,
                                        .layout = layouts_of(3).back().layout,
                                        .block = 48,
                                        .piece = 48});
  const std::string text = write_schedules(set);
  std::mt19937 random(20260102);
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = text;
    for (int changes = 0; changes < 3; ++changes) {
      damaged[random() % damaged.size()] =
          static_cast<char>(" 0123456789-[]{},:\"e"[random() % 19]);
    }
    refused += read_schedules(damaged) ? 0 : 1;
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace railccl
