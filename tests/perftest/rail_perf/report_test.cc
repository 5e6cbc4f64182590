// The text and the JSON document of one report that is known.
#include <gmock/gmock.h>

#include "perftest/rail_perf/json.h"
#include "perftest/rail_perf/table.h"

namespace railccl::perftest::railperf {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Measurements kAll = {
    .bandwidth = true, .bidirectional = true, .latency = true, .rate = true};

Report known_report() {
  Report report;
  for (size_t i = 0; i < 2; ++i) {
    NodeSide& node = report.nodes[i];
    node.node = static_cast<int>(i);
    node.rank = static_cast<int>(i);
    node.host = i == 0 ? "hosta" : "hostb";
    for (const char* name : {"eth0", "eth1"}) {
      node.rails.push_back({.name = name,
                            .transport = "tcp",
                            .address = "10.0.0.1",
                            .bytes_per_second = 125'000'000});
    }
  }
  report.pairs = {{.first = 0, .second = 0}, {.first = 1, .second = 1}};
  LinkResult both;
  both.name = "2 rails together";
  both.pairs = {0, 1};
  both.connected = true;
  both.check.bytes = 16;
  both.rails = {{.state = "up", .bytes_sent = 3000},
                {.state = "down", .failures = 1, .last_error = "cut"}};
  BandwidthResult bandwidth{.bytes = 1000};
  bandwidth.one_way =
      Stream{.bytes_per_put = 1000, .puts = 4, .seconds = 2e-5, .peak_puts_per_second = 250'000};
  bandwidth.both_ways = {*bandwidth.one_way, {.bytes_per_put = 1000, .puts = 2, .seconds = 4e-5}};
  bandwidth.rail_bytes = {3000, 1000};
  both.bandwidth = {bandwidth};
  both.latency = {{.bytes = 8, .round_trips = 3, .half_us = {.min = 1, .max = 5, .p50 = 2}}};
  both.rate = {{.bytes = 8, .window = 128, .puts = {}, .messages = 50, .message_seconds = 1e-4}};
  report.links = {both};
  return report;
}

TEST(RailPerfTable, Bandwidth) {
  const Report report = known_report();
  const LinkResult& link = report.links[0];
  EXPECT_EQ(bandwidth_line(link.bandwidth[0], link, kAll),
            "       1000           4      250.00      200.00      1.60   0.200000      150.00"
            "      1.20      200.00       50.00     75.0%     25.0%\n");
  const std::string head = bandwidth_head(report, link, kAll);
  const std::string line = bandwidth_line(link.bandwidth[0], link, kAll);
  EXPECT_EQ(head.find('\n'), line.find('\n'));  // the columns stand below their names
}

TEST(RailPerfTable, OnlyWhatIsMeasuredHasColumns) {
  const Report report = known_report();
  const LinkResult& link = report.links[0];
  EXPECT_THAT(bandwidth_head(report, link, {.bandwidth = true}), Not(HasSubstr("both ways")));
  EXPECT_THAT(bandwidth_head(report, link, {.bidirectional = true}), Not(HasSubstr("share")));
}

TEST(RailPerfTable, LatencyAndRate) {
  const LinkResult link = known_report().links[0];
  EXPECT_THAT(latency_line(link.latency[0]), HasSubstr("1.00       2.00"));
  EXPECT_EQ(latency_head().find("   (half"), latency_line(link.latency[0]).find('\n'));
  EXPECT_THAT(rate_line(link.rate[0]), HasSubstr("50   0.500000"));
}

TEST(RailPerfTable, IncidentsAndVerdict) {
  Report report = known_report();
  EXPECT_THAT(incidents(report, report.links[0]), HasSubstr("eth1 in 2 rails together: down"));
  EXPECT_THAT(foot(report), HasSubstr("# OK"));
  report.links[0].error = "no usable rail";
  EXPECT_THAT(foot(report), HasSubstr("# FAILED: 2 rails together: no usable rail"));
  report.links[0].check.wrong = 2;
  EXPECT_THAT(foot(report), HasSubstr("2 wrong bytes"));
  EXPECT_TRUE(report.any_wrong() && report.any_failed());
}

TEST(RailPerfJson, HasTheNumbersOfTheReport) {
  const auto json = document(known_report(), {.measure = kAll});
  EXPECT_TRUE(json["ok"]);
  EXPECT_EQ(json["nodes"][1]["host"], "hostb");
  EXPECT_EQ(json["nodes"][0]["rails"][1]["mbit_per_s"], 1000);
  EXPECT_EQ(json["pairs"][1]["rails"].dump(), "[1,1]");
  const auto& link = json["links"][0];
  EXPECT_TRUE(link["together"]);
  EXPECT_EQ(link["check"]["wrong"], 0);
  const auto& bandwidth = link["bandwidth"][0];
  EXPECT_EQ(bandwidth["one_way"]["bytes"], 4000);
  EXPECT_EQ(bandwidth["one_way"]["rails"][0]["share"], 0.75);
  EXPECT_DOUBLE_EQ(bandwidth["both_ways"]["mbytes_per_s"], 150);
  EXPECT_EQ(link["latency"][0]["half_round_trip_us"]["p50"], 2);
  EXPECT_DOUBLE_EQ(link["rate"][0]["messages_mpps"], 0.5);
  EXPECT_EQ(link["rails"][1]["last_error"], "cut");
}

}  // namespace
}  // namespace railccl::perftest::railperf
