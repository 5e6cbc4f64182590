// The expected texts were written by hand from nccl-tests' format strings.
#include "perftest/common/table.h"

#include <gtest/gtest.h>

#include <cstring>

namespace railccl::perftest {
namespace {

TEST(FixedWidth, GivesUpDigitsForLength) {
  EXPECT_EQ(fixed_width(0, 7), "   0.00");
  EXPECT_EQ(fixed_width(12.345, 7), "  12.35");
  EXPECT_EQ(fixed_width(1234.56, 7), "1234.56");
  EXPECT_EQ(fixed_width(12345.67, 7), "12345.7");
  EXPECT_EQ(fixed_width(1234567.8, 7), "1234568");
  EXPECT_EQ(fixed_width(123456789, 7), "1.2e+08");
  EXPECT_EQ(fixed_width(1234567, 6), " 1e+06");
  EXPECT_EQ(fixed_width(480.25, 6), "480.25");
}

TEST(Table, Head) {
  Options options;
  options.sizes = {.min_bytes = 8, .max_bytes = 1024, .step_factor = 2};
  EXPECT_EQ(table_head("all_reduce_perf", options, 22809),
            "# nccl-tests version 2.19.6 nccl-headers=22809 nccl-library=22809\n"
            "# Collective test starting: all_reduce_perf\n"
            "# nThread 1 nGpus 1 minBytes 8 maxBytes 1024 step: 2(factor) warmup iters: 1 iters: "
            "20 agg iters: 1 validation: 1 graph: 0 unalign: 0\n"
            "#\n"
            "# Using devices\n");
  EXPECT_EQ(device_line({.rank = 3, .process_id = 4711, .host = "alpha"}),
            "#  Rank  3 Group  0 Pid   4711 on      alpha device  0 [0000:00:00] host memory\n");
}

TEST(Table, ColumnHeads) {
  EXPECT_EQ(
      column_heads({}),
      "#\n"
      "#                                                              out-of-place                 "
      "      in-place          \n"
      "#       size         count      type   redop    root     time   algbw   busbw  #wrong     "
      "time   algbw   busbw  #wrong \n"
      "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             "
      "(us)  (GB/s)  (GB/s)         \n");
}

TEST(Table, ResultLine) {
  SizeResult result;
  result.bytes = 33554432;
  result.count = 8388608;
  result.type = "float";
  result.op = "sum";
  result.root = -1;
  EXPECT_EQ(line_begin(result), "    33554432       8388608     float     sum      -1");
  PlacementResult placement{
      .time_us = 1234.5, .algorithm_bandwidth = 27.18, .bus_bandwidth = 47.57, .wrong = 0};
  EXPECT_EQ(line_placement(placement, {}), "  1234.50   27.18   47.57       0");
  placement.wrong = std::nullopt;
  EXPECT_EQ(line_placement(placement, {}), "  1234.50   27.18   47.57    N/A");
  placement.wrong = 1234567;
  EXPECT_EQ(line_placement(placement, {}), "  1234.50   27.18   47.57  1.23457e+06");
  EXPECT_EQ(line_end({}, "ignored"), "\n");
  Options stamps;
  stamps.report_timestamps = true;
  EXPECT_EQ(line_end(stamps, "2026-11-23 10:20:30"), "  2026-11-23 10:20:30\n");
}

TEST(Table, PerIterationColumnsLeaveOutTheFirst) {
  Options options;
  options.per_iteration = true;
  options.per_iteration_skip = 1;
  PlacementResult placement{.time_us = 10, .wrong = 0, .iteration_us = {900, 10, 20, 30}};
  EXPECT_EQ(line_placement(placement, options),
            "    10.00    0.00    0.00       0    10.00    30.00    30.00    40.82");
  EXPECT_NE(column_heads(options).find("i_min    i_max    i_p99    i_cv%"), std::string::npos);
}

TEST(Table, Foot) {
  Summary summary{.mean_bus_bandwidth = 12.3456789};
  EXPECT_EQ(table_foot("reduce_perf", summary),
            "# Out of bounds values : 0 OK\n"
            "# Avg bus bandwidth    : 12.3457 \n"
            "#\n"
            "# Collective test concluded: reduce_perf\n");
  EXPECT_EQ(error_line(summary), "\n");
  summary.failed_measurements = 2;
  summary.wanted_bus_bandwidth = 20;
  summary.error = "rank 1 is gone";
  EXPECT_EQ(table_foot("reduce_perf", summary),
            "# Out of bounds values : 2 FAILED\n"
            "# Avg bus bandwidth    : 12.3457 FAILED\n"
            "#\n"
            "# Collective test concluded: reduce_perf\n");
  EXPECT_EQ(error_line(summary), "# error: rank 1 is gone\n");
  summary.wanted_bus_bandwidth = 13;  // 0.9 of it is enough
  EXPECT_TRUE(summary.bandwidth_is_fine());
  EXPECT_EQ(memory_line({.initialization = 1536, .buffers = 64 << 20, .collectives = 10}),
            "# Host memory usage    : Initialization 1.50 KB | User-Allocated 64.0 MB | Collective "
            "10.0 B | Total  64.0 MB\n");
}

TEST(Table, Rails) {
  railcclRailStats_t rail = {};
  std::strcpy(rail.name, "mlx5_0:1");
  std::strcpy(rail.transport, "verbs");
  rail.bytes_sent = 123456789;
  rail.share = 0.625;
  rail.bytes_per_second = 48.5e9;
  rail.failures = 1;
  rail.recoveries = 1;
  rail.stall_ms_max = 12.5;
  const std::vector<RankRails> ranks = {{.rank = 0, .rails = {rail}}, {.rank = 1, .rails = {}}};
  const std::string text = rails_table(ranks);
  EXPECT_NE(text.find("#    0  mlx5_0:1          verbs      up              123456789    62.5%     "
                      "48.50         1           1      12.50\n"),
            std::string::npos)
      << text;
  EXPECT_NE(rails_table({}).find("none"), std::string::npos);
}

}  // namespace
}  // namespace railccl::perftest
