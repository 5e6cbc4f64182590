// Counting of operations and the Prometheus text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/core/metrics_text.h"
#include "src/core/rail_totals.h"

namespace railccl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(OperationStats, CountsByCollectiveAndBySize) {
  OperationStats stats(true);
  stats.add(Collective::kAllReduce, 1000, 30);
  stats.add(Collective::kAllReduce, 24, 20);
  stats.add_predicted(Collective::kAllReduce, 1024, 30, 10);
  stats.add_predicted(Collective::kAllReduce, 1000, 20, 15);
  stats.add_predicted(Collective::kAllReduce, 1025, 7, 14);
  EXPECT_EQ(stats.totals(Collective::kAllReduce).operations, 2u);
  EXPECT_EQ(stats.totals(Collective::kAllReduce).bytes, 1024u);
  EXPECT_EQ(stats.totals(Collective::kAllReduce).took_ns, 50u);
  EXPECT_EQ(stats.totals(Collective::kBroadcast).operations, 0u);
  const auto predicted = stats.predicted();
  ASSERT_EQ(predicted.size(), 2u);
  EXPECT_EQ(predicted[0].largest_bytes, 1024u);
  EXPECT_EQ(predicted[0].operations, 2u);
  EXPECT_EQ(predicted[0].ratio(), 2.0);
  EXPECT_EQ(predicted[1].largest_bytes, 2048u);
  EXPECT_EQ(predicted[1].ratio(), 0.5);
  OperationStats plain(false);
  plain.add_predicted(Collective::kAllReduce, 1, 1, 1);
  EXPECT_TRUE(plain.predicted().empty());
}

TEST(RailTotals, AddOverPeersAndKeepTheWorstState) {
  std::vector<Peers::RailReport> reports(3);
  reports[0] = {.peer = 1, .local_rail = 0, .stats = {.state = RailState::kUp, .bytes_sent = 5}};
  reports[1] = {.peer = 2,
                .local_rail = 0,
                .stats = {.state = RailState::kDown, .bytes_sent = 7, .failures = 2}};
  reports[2] = {.peer = 1, .local_rail = 1, .stats = {.state = RailState::kUp, .bytes_sent = 11}};
  const auto totals = rail_totals(reports);
  ASSERT_EQ(totals.size(), 2u);
  EXPECT_EQ(totals.at(0).sum.bytes_sent, 12u);
  EXPECT_EQ(totals.at(0).sum.state, RailState::kDown);
  EXPECT_EQ(totals.at(0).sum.failures, 2u);
  EXPECT_EQ(totals.at(1).sum.state, RailState::kUp);
}

// A rail that is back towards one peer was taken for one that is back towards all.
TEST(RailTotals, TheWorstStateDoesNotDependOnTheOrderOfPeers) {
  const RailState ordered[] = {RailState::kUp, RailState::kRejoining, RailState::kSuspect,
                               RailState::kProbing, RailState::kDown};
  for (size_t one = 0; one < std::size(ordered); ++one) {
    for (size_t other = 0; other < std::size(ordered); ++other) {
      const std::vector<Peers::RailReport> reports = {
          {.peer = 1, .stats = {.state = ordered[one]}},
          {.peer = 2, .stats = {.state = ordered[other]}}};
      EXPECT_EQ(rail_totals(reports).at(0).sum.state, ordered[std::max(one, other)]);
    }
  }
}

TEST(MetricsText, IsPrometheusText) {
  CommMetrics comm{.name = "odd\"name\\\n", .id = 0xabc, .rank = 3, .ranks = 8};
  comm.operations = {
      {Collective::kAllReduce, {.operations = 4, .bytes = 4096, .took_ns = 1'500'000'000}}};
  comm.rails = {{.name = "eth1",
                 .transport = "tcp",
                 .stats = {.state = RailState::kRejoining, .bytes_sent = 77, .recoveries = 1}}};
  const std::vector<CommMetrics> all = {comm, {.name = "other", .id = 1, .rank = 0, .ranks = 2}};
  const std::string text = metrics_as_text(all);
  const std::string labels = R"(communicator="odd\"name\\\n",id="0000000000000abc",rank="3")";
  EXPECT_THAT(text, HasSubstr("# HELP railccl_ranks Ranks of the communicator.\n"
                              "# TYPE railccl_ranks gauge\n"
                              "railccl_ranks{" +
                              labels +
                              "} 8\n"
                              "railccl_ranks{communicator=\"other\",id=\"0000000000000001\","
                              "rank=\"0\"} 2\n"));
  EXPECT_THAT(text,
              HasSubstr("railccl_operations_total{" + labels + ",collective=\"AllReduce\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("railccl_operation_seconds_total{" + labels +
                              ",collective=\"AllReduce\"} 1.5\n"));
  const std::string rail = labels + ",rail=\"eth1\",transport=\"tcp\"} ";
  EXPECT_THAT(text, HasSubstr("railccl_rail_sent_bytes_total{" + rail + "77\n"));
  EXPECT_THAT(text, HasSubstr("railccl_rail_state{" + rail + "4\n"));
  EXPECT_THAT(text, HasSubstr("railccl_rail_recoveries_total{" + rail + "1\n"));
  // A metric without samples is not described.
  EXPECT_THAT(text, Not(HasSubstr("predicted")));
}

}  // namespace
}  // namespace railccl
