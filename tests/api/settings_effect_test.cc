// Settings that change what a communicator does, as a program sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/api/api_world.h"
#include "tests/api/child_process.h"

namespace railccl::test {
namespace {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Environment = std::map<std::string, std::string>;

Json explain(ncclComm_t comm, const railcclCall_t& call) {
  std::string text(1 << 20, 0);
  size_t length = 0;
  if (railcclExplain(comm, &call, railcclJson, text.data(), text.size(), &length) != ncclSuccess) {
    return {{"error", ncclGetLastError(nullptr)}};
  }
  return Json::parse(text.substr(0, length));
}

// What the bodies below print when something is not as it should be, and what they say. The log may
// say more.
auto IsRightAndSays(const std::string& text) {
  return AllOf(HasSubstr(text), Not(HasSubstr("failed: ")), Not(HasSubstr("wrong: ")));
}

// Sums `count` floats over all ranks and says whether every element is right.
void check_sum(RankOf& self, size_t count) {
  std::vector<float> data(count);
  std::vector<float> sum(count);
  for (size_t i = 0; i < count; ++i) data[i] = static_cast<float>((i + self.rank) % 1000);
  if (ncclAllReduce(data.data(), sum.data(), count, ncclFloat, ncclSum, self.comm, nullptr) !=
      ncclSuccess) {
    std::cout << "failed: " << ncclGetLastError(nullptr) << "\n";
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    float expected = 0;
    for (int rank = 0; rank < self.ranks; ++rank) expected += static_cast<float>((i + rank) % 1000);
    if (sum[i] == expected) continue;
    std::cout << "wrong: element " << i << " of " << count << "\n";
    return;
  }
}

TEST(SettingsEffect, ChannelsAndScratchBetweenNodes) {
  const Environment environment = {{"RAILCCL_RANKS_PER_NODE", "1"},
                                   {"NCCL_MIN_NCHANNELS", "5"},
                                   {"NCCL_BUFFSIZE", "512K"},
                                   {"RAILCCL_ALGO", "ring"}};
  const ChildEnd end = run_child(environment, [] {
    run_ranks(3, [](RankOf& self) {
      for (const size_t count : {1, 1000, 700'001}) check_sum(self, count);
      const railcclCall_t call{.collective = railcclAllReduce, .count = 700'001};
      if (self.rank == 0) std::cout << explain(self.comm, call)["channels"] << " channels\n";
    });
  });
  EXPECT_THAT(end.output, IsRightAndSays("5 channels\n"));
}

TEST(SettingsEffect, ConfigBoundsTheChannels) {
  const ChildEnd end = run_child({{"RAILCCL_ALGO", "tree"}, {"RAILCCL_RANKS_PER_NODE", "1"}}, [] {
    ncclUniqueId id;
    ncclGetUniqueId(&id);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.maxCTAs = 1;
        config.netName = "Socket";
        RankOf self{.rank = rank, .ranks = 2};
        ncclCommInitRankConfig(&self.comm, 2, id, rank, &config);
        check_sum(self, 300'000);
        const railcclCall_t call{.collective = railcclAllReduce, .count = 300'000};
        if (rank == 0) std::cout << explain(self.comm, call)["channels"] << " channels\n";
        ncclCommDestroy(self.comm);
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  EXPECT_THAT(end.output, IsRightAndSays("1 channels\n"));
}

TEST(SettingsEffect, ANetNameThatIsNotHereIsAnError) {
  const ChildEnd end = run_child({}, [] {
    ncclUniqueId id;
    ncclGetUniqueId(&id);
    for (const char* name : {"Token Ring", "IB"}) {
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.netName = name;
      ncclComm_t comm = nullptr;
      if (ncclCommInitRankConfig(&comm, 1, id, 0, &config) == ncclSuccess) std::cout << "accepted";
      std::cout << ncclGetLastError(nullptr) << "\n";
    }
  });
  EXPECT_THAT(end.output, Not(HasSubstr("accepted")));
  EXPECT_THAT(end.output, HasSubstr("netName of the config given to ncclCommInitRankConfig is "
                                    "'Token Ring', allowed are IB (or verbs), Socket (or tcp)"));
  EXPECT_THAT(end.output, HasSubstr("asks for verbs rails; this process has: lo (tcp)"));
}

// The example of docs/algorithms.md.
constexpr const char* kBroadcast = R"({
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

void broadcast(RankOf& self, size_t count) {
  std::vector<float> from(count, self.rank == 0 ? 42.0f : 0.0f);
  std::vector<float> to(count);
  if (ncclBroadcast(from.data(), to.data(), count, ncclFloat, 0, self.comm, nullptr) !=
      ncclSuccess) {
    std::cout << "failed: " << ncclGetLastError(nullptr) << "\n";
  }
  if (to != std::vector<float>(count, 42.0f)) std::cout << "wrong: data\n";
  const railcclCall_t call{.collective = railcclBroadcast, .count = count};
  if (self.rank == 0) {
    std::cout << count << " " << explain(self.comm, call)["chosen"]["algorithm"] << "\n";
  }
}

TEST(SettingsEffect, AScheduleOfTheUserRunsWhereItFits) {
  const TemporaryFolder folder;
  std::ofstream(folder.file("broadcast.json")) << kBroadcast;
  const ChildEnd end = run_child(
      {{"RAILCCL_SCHEDULE_FILE", folder.file("broadcast.json")}, {"RAILCCL_RANKS_PER_NODE", "1"}},
      [] {
        run_ranks(2, [](RankOf& self) {
          for (const size_t count : {8, 8000, 9}) broadcast(self, count);
        });
      });
  EXPECT_THAT(end.output, IsRightAndSays("8 \"file\"\n8000 \"file\"\n9 "));
  EXPECT_THAT(end.output, Not(HasSubstr("9 \"file\"")));
}

TEST(SettingsEffect, AWrongScheduleIsRefusedAtTheStart) {
  const TemporaryFolder folder;
  std::string text = kBroadcast;
  text.replace(text.find("\"tag\": 5"), 8, "\"tag\": 6");
  std::ofstream(folder.file("broadcast.json")) << text;
  const ChildEnd end = run_child({{"RAILCCL_SCHEDULE_FILE", folder.file("broadcast.json")}}, [] {
    ncclUniqueId id;
    if (ncclGetUniqueId(&id) == ncclSuccess) std::cout << "accepted";
    std::cout << ncclGetLastError(nullptr);
  });
  EXPECT_THAT(end.output, AllOf(HasSubstr("RAILCCL_SCHEDULE_FILE"), HasSubstr("broadcast.json"),
                                HasSubstr("rank"), Not(HasSubstr("accepted"))));
}

TEST(SettingsEffect, RanksPerNodeMakesVirtualNodes) {
  const ChildEnd end = run_child({{"RAILCCL_RANKS_PER_NODE", "2"}}, [] {
    run_ranks(5, [](RankOf& self) {
      for (const size_t count : {1, 100'000}) check_sum(self, count);
      std::string text(1 << 20, 0);
      size_t length = 0;
      railcclExplain(self.comm, nullptr, railcclJson, text.data(), text.size(), &length);
      if (self.rank != 0) return;
      const Json all = Json::parse(text.substr(0, length));
      for (const Json& node : all["nodes"]) std::cout << node["ranks"] << " ";
    });
  });
  EXPECT_THAT(end.output, IsRightAndSays("[0,1] [2,3] [4] "));
}

// Of one sample line with these parts; -1 when there is none.
double sample(const std::string& metrics, const std::string& name, const std::string& label) {
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + "{") && line.find(label) != std::string::npos) {
      return std::stod(line.substr(line.rfind(' ')));
    }
  }
  return -1;
}

// Waits until both ranks' operations are in the file, and prints it.
void show_metrics(const std::string& path, double operations) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  std::string text;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    text = read_file(path);
  } while ((sample(text, "railccl_operations_total", "rank=\"0\"") != operations ||
            sample(text, "railccl_operations_total", "rank=\"1\"") != operations) &&
           std::chrono::steady_clock::now() < deadline);
  std::cout << text;
}

// Two ranks on two nodes: each sends half of the data for the reduction and half for the result.
TEST(SettingsEffect, MetricsCountOperationsAndWhatTheRailsCarried) {
  const TemporaryFolder folder;
  const std::string path = folder.file("metrics.prom");
  constexpr size_t kCount = 500'000;
  const ChildEnd end = run_child({{"RAILCCL_METRICS_FILE", path},
                                  {"RAILCCL_METRICS_INTERVAL_S", "1"},
                                  {"RAILCCL_PREDICT", "1"},
                                  {"RAILCCL_ALGO", "ring"},
                                  {"RAILCCL_RANKS_PER_NODE", "1"}},
                                 [&path] {
                                   run_ranks(2, [&path](RankOf& self) {
                                     for (int i = 0; i < 3; ++i) check_sum(self, kCount);
                                     if (self.rank == 0) show_metrics(path, 3);
                                     check_sum(self, 1);
                                   });
                                 });
  for (const char* rank : {"rank=\"0\"", "rank=\"1\""}) {
    const double bytes = kCount * sizeof(float);
    EXPECT_EQ(sample(end.output, "railccl_operations_total", rank), 3) << end.output;
    EXPECT_EQ(sample(end.output, "railccl_operation_bytes_total", rank), 3 * bytes);
    EXPECT_GT(sample(end.output, "railccl_operation_seconds_total", rank), 0);
    EXPECT_EQ(sample(end.output, "railccl_predicted_operations_total", rank), 3);
    EXPECT_GT(sample(end.output, "railccl_predicted_seconds_total", rank), 0);
    EXPECT_EQ(sample(end.output, "railccl_rail_failures_total", rank), 0);
    const double sent = sample(end.output, "railccl_rail_sent_bytes_total", rank);
    EXPECT_GE(sent, 3 * bytes);
    EXPECT_LE(sent, 3 * bytes * 1.05);
  }
  // What ended communicators came to stays.
  EXPECT_EQ(sample(read_file(path), "railccl_operations_total", "rank=\"0\""), 4);
  EXPECT_EQ(sample(read_file(path), "railccl_operations_total", "rank=\"1\""), 4);
}

TEST(SettingsEffect, ExplainFileHasEachCommunicatorWithReasonsAndMeasurements) {
  const TemporaryFolder folder;
  const auto body = [] {
    run_ranks(2, [](RankOf& self) {
      for (int i = 0; i < 4; ++i) check_sum(self, 300'000);
    });
  };
  const ChildEnd as_json = run_child(
      {{"RAILCCL_EXPLAIN_FILE", folder.file("why.json")}, {"RAILCCL_PREDICT", "1"}}, body);
  const Json all = Json::parse(read_file(folder.file("why.json")));
  ASSERT_EQ(all["communicators"].size(), 2u) << as_json.output;
  for (const Json& one : all["communicators"]) {
    EXPECT_GE(one["choices"].size(), 60u);
    EXPECT_NE(one["choices"][0]["why"], "");
    const Json& measured = one["predicted_and_measured"];
    ASSERT_EQ(measured.size(), 1u);
    EXPECT_EQ(measured[0]["collective"], "AllReduce");
    EXPECT_EQ(measured[0]["operations"], 4);
    EXPECT_EQ(measured[0]["largest_bytes"], 1 << 21);
    EXPECT_GT(measured[0]["measured_over_predicted"].get<double>(), 0);
  }
  run_child({{"RAILCCL_EXPLAIN_FILE", folder.file("why.%r.txt")}}, body);
  std::string text = read_file(folder.file("why.0.txt"));
  if (text.empty()) text = read_file(folder.file("why.1.txt"));
  EXPECT_THAT(text, AllOf(HasSubstr("rank 0 of 2"), HasSubstr("rank 1 of 2"),
                          HasSubstr("AllReduce"), Not(HasSubstr(" ratio"))));
}

TEST(SettingsEffect, FilesThatCannotBeWrittenAreErrorsAtTheStart) {
  for (const char* name : {"RAILCCL_METRICS_FILE", "RAILCCL_EXPLAIN_FILE"}) {
    const ChildEnd end = run_child({{name, "/no/such/folder/file"}}, [] {
      ncclUniqueId id;
      if (ncclGetUniqueId(&id) == ncclSuccess) std::cout << "accepted";
      std::cout << ncclGetLastError(nullptr);
    });
    EXPECT_THAT(end.output, AllOf(HasSubstr(name), HasSubstr("/no/such/folder does not")));
  }
}

}  // namespace
}  // namespace railccl::test
