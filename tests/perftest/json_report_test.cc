#include "perftest/common/json_report.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace railccl::perftest {
namespace {

using Json = nlohmann::ordered_json;

SizeResult known_result() {
  SizeResult result;
  result.bytes = 1024;
  result.count = 256;
  result.type = "float";
  result.op = "sum";
  result.root = -1;
  result.iterations = 4;
  result.out_of_place = {.time_us = 10.5,
                         .algorithm_bandwidth = 2,
                         .bus_bandwidth = 3,
                         .wrong = 0,
                         .iteration_us = {100, 10, 20, 30},
                         .process_iteration_us = {{100, 10, 20, 30}, {1, 2, 3, 4}}};
  result.in_place = {.time_us = 11.5, .algorithm_bandwidth = 4, .bus_bandwidth = 5};
  return result;
}

std::string temporary_path(const std::string& name) {
  return testing::TempDir() + name + std::to_string(getpid()) + ".json";
}

Json read_json(const std::string& path) {
  std::ifstream in(path);
  return Json::parse(in);
}

TEST(JsonReport, ResultHasTheKeysOfNcclTests) {
  const Json json = result_json(known_result(), {});
  EXPECT_EQ(json.dump(),
            R"({"size":1024,"count":256,"type":"float","redop":"sum","root":"    -1",)"
            R"("out_of_place":{"time":10.5,"alg_bw":2.0,"bus_bw":3.0,"nwrong":0},)"
            R"("in_place":{"time":11.5,"alg_bw":4.0,"bus_bw":5.0,"nwrong":null},)"
            R"("actual_iterations":4,"experiment_name":"",)"
            R"("time_us":{"out_of_place":{"samples":4,"min":10.0,"mean":40.0,"p50":20.0,)"
            R"("p95":100.0,"p99":100.0,"p99.9":100.0,"max":100.0},"in_place":null}})");
}

TEST(JsonReport, PerIterationTimes) {
  Options options;
  options.per_iteration = true;
  options.per_iteration_skip = 1;
  options.report_cpu_time = true;
  const Json json = result_json(known_result(), options);
  const Json& times = json["out_of_place_per_iter"];
  EXPECT_EQ(times["skipped_iterations"], 1);
  EXPECT_EQ(times["min_us"], 10);
  EXPECT_EQ(times["max_us"], 30);
  EXPECT_EQ(times["avg_us"], 20);
  EXPECT_EQ(times["times_us"], Json({100.0, 10.0, 20.0, 30.0}));
  EXPECT_EQ(times["per_process_max_times_us"].size(), 2u);
  EXPECT_FALSE(json["in_place_per_iter"].contains("per_process_max_times_us"));
  EXPECT_EQ(json["out_of_place"]["cpu_time"], 10.5);
}

TEST(JsonReport, Config) {
  Options options;
  options.sizes.step_factor = 2;
  const std::vector<RankDevice> devices = {{.rank = 0, .process_id = 7, .host = "alpha"}};
  const Json json = config_json(options, devices);
  EXPECT_EQ(json["step_factor"], 2);
  EXPECT_FALSE(json.contains("step_bytes"));
  EXPECT_EQ(json["blocking_collectives"], "false");
  EXPECT_EQ(json["devices"][0]["hostname"], "alpha");
  EXPECT_TRUE(config_json({}, devices).contains("step_bytes"));
}

TEST(JsonReport, Rails) {
  railcclRailStats_t rail = {};
  std::strcpy(rail.name, "eth1");
  std::strcpy(rail.transport, "tcp");
  rail.bytes_sent = 5000;
  rail.share = 0.5;
  rail.bytes_per_second = 1.25e9;
  rail.failures = 2;
  rail.recoveries = 1;
  rail.stall_ms_max = 7.5;
  const std::vector<RankRails> ranks = {{.rank = 4, .rails = {rail, rail}}};
  const Json json = rails_json(ranks);
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[1]["rank"], 4);
  EXPECT_EQ(json[1]["rail"], 1);
  EXPECT_EQ(json[0]["name"], "eth1");
  EXPECT_EQ(json[0]["transport"], "tcp");
  EXPECT_EQ(json[0]["bytes"], 5000);
  EXPECT_EQ(json[0]["share"], 0.5);
  EXPECT_EQ(json[0]["gbytes_per_s"], 1.25);
  EXPECT_EQ(json[0]["failures"], 2);
  EXPECT_EQ(json[0]["recoveries"], 1);
  EXPECT_EQ(json[0]["stall_ms_max"], 7.5);
}

TEST(JsonReport, WritesTheDocumentAndHidesTheSecret) {
  setenv("RAILCCL_JOB_SECRET", "do-not-tell", 1);
  const std::string path = temporary_path("report");
  const std::vector<std::string> arguments = {"all_reduce_perf", "-n", "1"};
  auto report = JsonReport::create(path, arguments, 22809);
  unsetenv("RAILCCL_JOB_SECRET");
  ASSERT_TRUE(report) << report.error().message;
  report->set_config({}, {});
  report->add_result(known_result(), {});
  report->set_rails({});
  report->set_summary({.failed_measurements = 1, .mean_bus_bandwidth = 4, .error = "why"});
  ASSERT_TRUE(report->close());
  const Json json = read_json(path);
  std::filesystem::remove(path);
  EXPECT_EQ(json["version"], 3);
  EXPECT_EQ(json["args"], Json(arguments));
  EXPECT_EQ(json["nccl_version"], 22809);
  EXPECT_EQ(json["results"].size(), 1u);
  EXPECT_EQ(json["rails"], Json::array());
  EXPECT_EQ(json["out_of_bounds"], Json({{"count", 1}, {"okay", "false"}}));
  EXPECT_EQ(json["average_bus_bandwidth"]["okay"], "unchecked");
  EXPECT_EQ(json["errors"], Json::array({"why"}));
  EXPECT_TRUE(json.contains("start_time") && json.contains("end_time"));
  EXPECT_THAT(json.dump(), testing::Not(testing::HasSubstr("do-not-tell")));
}

TEST(JsonReport, NeverOverwritesAndSaysWhatItCannotMake) {
  const std::string path = temporary_path("twice");
  const auto first = JsonReport::create(path, {}, 1);
  const auto second = JsonReport::create(path, {}, 1);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->path(), path + ".0");
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".0");
  const auto nowhere = JsonReport::create("/nonexistent/folder/x.json", {}, 1);
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().message, testing::HasSubstr("/nonexistent/folder/x.json"));
}

}  // namespace
}  // namespace railccl::perftest
