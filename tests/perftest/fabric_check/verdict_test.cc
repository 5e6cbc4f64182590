// The verdict, and the causes that it names, over fabrics with known faults.
#include "perftest/fabric_check/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/perftest/fabric_check/fabric_builder.h"

namespace railccl::perftest::fabric {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<Finding> failing(const Verdict& verdict) {
  std::vector<Finding> findings = verdict.findings;
  std::erase_if(findings, [](const Finding& finding) { return !finding.fails; });
  return findings;
}

auto Is(Likely likely, int rail, const std::vector<int>& nodes) {
  return AllOf(Field(&Finding::likely, likely), Field(&Finding::rail, rail),
               Field(&Finding::nodes, nodes));
}

struct Case {
  const char* name;
  int nodes;
  std::vector<double> rails;
  std::function<void(Fabric&)> fault;
  Likely likely;
  int rail;
  std::vector<int> blamed;
  std::string text;
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

void slow(Fabric& fabric, int rail, int node, bool sends, bool receives, double gbps) {
  for (int other = 0; other < fabric.node_count(); ++other) {
    if (sends) set_way(fabric.rails[static_cast<size_t>(rail)], node, other, gbps);
    if (receives) set_way(fabric.rails[static_cast<size_t>(rail)], other, node, gbps);
  }
}

void cut(Fabric& fabric, int rail, int node) {
  for (int other = 0; other < fabric.node_count(); ++other) {
    cut_way(fabric.rails[static_cast<size_t>(rail)], node, other);
    cut_way(fabric.rails[static_cast<size_t>(rail)], other, node);
  }
}

class OneFault : public testing::TestWithParam<Case> {};

TEST_P(OneFault, IsTheOnlyFinding) {
  const Case& test = GetParam();
  Fabric fabric = make_fabric(test.nodes, test.rails);
  ASSERT_THAT(failing(judge(fabric, {})), IsEmpty());
  test.fault(fabric);
  const Verdict verdict = judge(fabric, {});
  EXPECT_EQ(verdict.judgement, Judgement::kFail);
  const std::vector<Finding> findings = failing(verdict);
  ASSERT_THAT(findings, ElementsAre(Is(test.likely, test.rail, test.blamed)));
  EXPECT_THAT(findings[0].text, HasSubstr(test.text));
}

INSTANTIATE_TEST_SUITE_P(
    Faults, OneFault,
    testing::Values(Case{"a NIC that sends slowly",
                         4,
                         {1, 1},
                         [](Fabric& f) { slow(f, 1, 2, true, false, 0.1); },
                         Likely::kNic,
                         1,
                         {2},
                         "n2, rail 1 (eth1), sending: 0.1 Gbit/s"},
                    Case{"a NIC that receives slowly",
                         4,
                         {1, 1},
                         [](Fabric& f) { slow(f, 0, 3, false, true, 0.2); },
                         Likely::kNic,
                         0,
                         {3},
                         "receiving: 0.2 Gbit/s"},
                    Case{"a NIC that is slow both ways",
                         5,
                         {100, 100, 100},
                         [](Fabric& f) { slow(f, 2, 0, true, true, 40); },
                         Likely::kNic,
                         2,
                         {0},
                         "n0, rail 2 (eth2), sending and receiving: 40 Gbit/s"},
                    Case{"the same among three nodes, where most ways are bad",
                         3,
                         {100, 100},
                         [](Fabric& f) { slow(f, 1, 1, true, true, 40); },
                         Likely::kNic,
                         1,
                         {1},
                         "n1, rail 1"},
                    Case{"a NIC that is not connected",
                         4,
                         {1, 1},
                         [](Fabric& f) { cut(f, 0, 1); },
                         Likely::kNic,
                         0,
                         {1},
                         "nothing gets through on 6 of 6 ways: down"},
                    Case{"one pair only",
                         6,
                         {1, 1},
                         [](Fabric& f) {
                           set_way(f.rails[0], 1, 4, 0.3);
                           set_way(f.rails[0], 4, 1, 0.3);
                         },
                         Likely::kPath,
                         0,
                         {1, 4},
                         "n1 <-> n4, rail 0: 0.3 Gbit/s (median of 2 ways)"},
                    Case{"one way of one pair",
                         6,
                         {1, 1},
                         [](Fabric& f) { set_way(f.rails[1], 4, 1, 0.3); },
                         Likely::kPath,
                         1,
                         {1, 4},
                         "n1 <- n4, rail 1"},
                    Case{"two nodes cannot tell",
                         2,
                         {1, 1},
                         [](Fabric& f) { set_way(f.rails[1], 0, 1, 0.3); },
                         Likely::kPath,
                         1,
                         {0, 1},
                         "with two nodes these cannot be told apart"},
                    Case{"a slow plane",
                         4,
                         {1, 1, 1},
                         [](Fabric& f) {
                           for (int node = 0; node < 4; ++node) slow(f, 2, node, true, true, 0.5);
                         },
                         Likely::kPlane,
                         2,
                         {},
                         "rail 2, all nodes: 0.5 Gbit/s at its best"},
                    Case{"a dead plane",
                         4,
                         {1, 1},
                         [](Fabric& f) {
                           for (int node = 0; node < 4; ++node) cut(f, 1, node);
                         },
                         Likely::kPlane,
                         1,
                         {},
                         "rail 1, all nodes: nothing gets through on 12 of 12 ways"},
                    Case{"a slow node",
                         5,
                         {1, 1},
                         [](Fabric& f) {
                           slow(f, 0, 3, true, false, 0.4);
                           slow(f, 1, 3, true, false, 0.4);
                         },
                         Likely::kNode,
                         -1,
                         {3},
                         "n3, on all of its 2 rails: the host itself"},
                    Case{"wrong bytes on a way",
                         4,
                         {1, 1},
                         [](Fabric& f) { f.rails[1].at(2, 0).wrong = 7; },
                         Likely::kWrongBytes,
                         1,
                         {2, 0},
                         "n2 -> n0, rail 1: 7 wrong elements"},
                    Case{"wrong bytes over all rails",
                         4,
                         {1, 1},
                         [](Fabric& f) { f.all_rails.at(1, 3).wrong = 1; },
                         Likely::kWrongBytes,
                         -1,
                         {1, 3},
                         "all rails: 1 wrong elements"},
                    Case{"a wrong collective",
                         4,
                         {1, 1},
                         [](Fabric& f) {
                           f.collectives.push_back({.name = "all_reduce", .bytes = 64, .wrong = 3});
                         },
                         Likely::kWrongBytes,
                         -1,
                         {},
                         "all_reduce of 64 bytes: 3 wrong elements"},
                    Case{"a rail that does not come back",
                         4,
                         {1, 1},
                         [](Fabric& f) { f.drills.push_back({.rail = 1, .went_down = true}); },
                         Likely::kDrill,
                         1,
                         {},
                         "it did not come back on every rank"},
                    Case{"a long stall",
                         4,
                         {1, 1},
                         [](Fabric& f) {
                           f.drills.push_back(
                               {.rail = 0, .stall_ms = 9000, .went_down = true, .came_back = true});
                         },
                         Likely::kDrill,
                         0,
                         {},
                         "stalled for 9000 ms, allowed are 5000"}),
    [](const auto& each) { return fmt::format("Case{}", each.index); });

TEST(Verdict, TwoBadNicsAreTwoFindings) {
  Fabric fabric = make_fabric(6, {1, 1});
  slow(fabric, 0, 1, true, false, 0.1);
  slow(fabric, 1, 4, true, true, 0.1);
  EXPECT_THAT(failing(judge(fabric, {})),
              testing::UnorderedElementsAre(Is(Likely::kNic, 0, {1}), Is(Likely::kNic, 1, {4})));
}

TEST(Verdict, CrossedRailsAreNamedByTheirSubnets) {
  Fabric fabric = make_fabric(4, {1, 1});
  std::swap(fabric.nodes[2].rails[0], fabric.nodes[2].rails[1]);
  cut(fabric, 0, 2);
  cut(fabric, 1, 2);
  const auto findings = failing(judge(fabric, {}));
  EXPECT_THAT(findings, ElementsAre(Is(Likely::kCrossed, 0, {2}), Is(Likely::kCrossed, 1, {2})));
  EXPECT_THAT(findings[0].text,
              HasSubstr("n2, rail 0 (eth1, 10.2.0.3): in the subnet 10.2.0.0/24 of the other "
                        "nodes' rail 1: crossed rails"));
}

TEST(Verdict, RailsOfOneSubnetAreNotCrossed) {
  Fabric fabric = make_fabric(4, {1, 1});
  for (Node& node : fabric.nodes) {
    for (Rail& rail : node.rails) rail.subnet = "10.0.0.0/16";
  }
  EXPECT_THAT(failing(judge(fabric, {})), IsEmpty());
}

TEST(Verdict, UnequalRailsFailUnlessThatIsWanted) {
  const Fabric fabric = make_fabric(4, {1, 0.5});
  EXPECT_THAT(failing(judge(fabric, {})), ElementsAre(Is(Likely::kPlane, 1, {})));
  Thresholds thresholds;
  thresholds.rails[0].min_gbps = 0.8;
  thresholds.rails[1].min_gbps = 0.4;
  EXPECT_EQ(judge(fabric, thresholds).judgement, Judgement::kPass);
  thresholds.rails[1].min_gbps = 0.7;
  EXPECT_THAT(failing(judge(fabric, thresholds)), ElementsAre(Is(Likely::kPlane, 1, {})));
}

TEST(Verdict, ALatencyAboveItsThresholdIsBad) {
  Fabric fabric = make_fabric(4, {1, 1});
  for (int to = 0; to < 4; ++to) {
    if (to != 3) fabric.rails[0].at(3, to).latency_us = 500;
  }
  EXPECT_EQ(judge(fabric, {}).judgement, Judgement::kPass);
  Thresholds thresholds;
  thresholds.other_rails.max_latency_us = 100;
  const auto findings = failing(judge(fabric, thresholds));
  ASSERT_THAT(findings, ElementsAre(Is(Likely::kNic, 0, {3})));
  EXPECT_THAT(findings[0].text, HasSubstr("latency 500 us, allowed 100"));
}

TEST(Verdict, NoiseIsNoFault) {
  Fabric fabric = make_fabric(8, {1});
  for (int from = 0; from < 8; ++from) {
    for (int to = 0; to < 8; ++to) {
      set_way(fabric.rails[0], from, to, 0.7 + 0.3 * ((from * 5 + to * 3) % 8) / 8.0);
    }
  }
  EXPECT_THAT(failing(judge(fabric, {})), IsEmpty());
}

TEST(Verdict, OversubscriptionIsANoteUnlessAShareIsWanted) {
  Fabric fabric = make_fabric(4, {1});
  fabric.at_once.push_back({.rail = 0, .gbps = 2, .alone_gbps = 4});
  Verdict verdict = judge(fabric, {});
  EXPECT_EQ(verdict.judgement, Judgement::kPass);
  EXPECT_THAT(verdict.findings, ElementsAre(Is(Likely::kAtOnce, 0, {})));
  EXPECT_THAT(verdict.findings[0].text, HasSubstr("2 Gbit/s, 50 % of the 4"));
  Thresholds thresholds;
  thresholds.all_at_once_min_share = 0.8;
  EXPECT_EQ(judge(fabric, thresholds).judgement, Judgement::kFail);
}

TEST(Verdict, AllRailsTogetherAreHeldAgainstTheirSum) {
  Fabric fabric = make_fabric(4, {1, 1});
  set_way(fabric.all_rails, 0, 1, 1.1);
  EXPECT_THAT(judge(fabric, {}).findings,
              ElementsAre(AllOf(Field(&Finding::fails, false),
                                Field(&Finding::text, HasSubstr("on 1 ways all rails together")))));
  Thresholds thresholds;
  thresholds.all_rails_min_gbps = 1.5;
  EXPECT_THAT(failing(judge(fabric, thresholds)), ElementsAre(Is(Likely::kAllRails, -1, {0, 1})));
}

TEST(Verdict, CountersAreNotesUnlessTheyAreLimited) {
  Fabric fabric = make_fabric(4, {1});
  fabric.counters.push_back({.node = 1,
                             .rail = 0,
                             .counter = "mlx5_0/1 symbol_error",
                             .meaning = "cable",
                             .before = 10,
                             .after = 15});
  Verdict verdict = judge(fabric, {});
  EXPECT_EQ(verdict.judgement, Judgement::kPass);
  EXPECT_THAT(verdict.findings[0].text, HasSubstr("n1, rail 0: mlx5_0/1 symbol_error +5 (cable)"));
  Thresholds thresholds;
  thresholds.counters["symbol_error"] = 4;
  EXPECT_EQ(judge(fabric, thresholds).judgement, Judgement::kFail);
  thresholds.counters["symbol_error"] = 5;
  EXPECT_EQ(judge(fabric, thresholds).judgement, Judgement::kPass);
}

TEST(Verdict, WhatIsMissingMakesItIncompleteWhateverElseIsWrong) {
  Fabric fabric = make_fabric(4, {1, 1});
  slow(fabric, 0, 1, true, false, 0.1);
  fabric.missing.push_back({.node = 3, .stage = "pairs", .why = "no answer"});
  const Verdict verdict = judge(fabric, {});
  EXPECT_EQ(verdict.judgement, Judgement::kIncomplete);
  EXPECT_THAT(failing(verdict), ElementsAre(Is(Likely::kNic, 0, {1})));
}

TEST(Verdict, NothingMeasuredIsNoCrash) {
  Fabric fabric = make_fabric(3, {1, 1});
  for (Matrix& matrix : fabric.rails) matrix = Matrix(3);
  fabric.all_rails = Matrix(3);
  EXPECT_THAT(judge(fabric, {}).findings, IsEmpty());
  EXPECT_THAT(judge(Fabric(), {}).findings, IsEmpty());
}

TEST(Verdict, SuspectsAreThePairsWithABadWay) {
  Fabric fabric = make_fabric(5, {1, 1});
  slow(fabric, 1, 2, true, false, 0.1);
  EXPECT_THAT(suspects(fabric, 0, {}), IsEmpty());
  EXPECT_THAT(suspects(fabric, 1, {}),
              ElementsAre(NodePair(0, 2), NodePair(1, 2), NodePair(2, 3), NodePair(2, 4)));
}

}  // namespace
}  // namespace railccl::perftest::fabric
