// Settings that change what a communicator does, as a program sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

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

}  // namespace
}  // namespace railccl::test
