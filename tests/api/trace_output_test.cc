// The trace as a user gets it: written at exit, on a signal, after an error, and what stands in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/api/api_world.h"
#include "tests/api/child_process.h"

namespace railccl::test {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

void all_reduce(RankOf& self, size_t count, int times) {
  std::vector<float> data(count, 1);
  for (int i = 0; i < times; ++i) {
    if (ncclAllReduce(data.data(), data.data(), count, ncclFloat, ncclMax, self.comm, nullptr) !=
        ncclSuccess) {
      std::cout << "failed: " << ncclGetLastError(nullptr) << "\n";
    }
  }
}

void wait_for_file(const std::string& path) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (access(path.c_str(), R_OK) != 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
}

std::string kind_of(const Json& event) { return event["args"].value("kind", ""); }

// Checks that begins and ends of each span alternate, and counts the spans; by rank.
std::map<int, int> count_spans(const Json& trace, const std::string& begin,
                               const std::string& end) {
  std::vector<Json> events;  // a span may begin on one thread and end on another
  for (const Json& event : trace["traceEvents"]) {
    if (kind_of(event) == begin || kind_of(event) == end) events.push_back(event);
  }
  std::stable_sort(events.begin(), events.end(), [](const Json& one, const Json& other) {
    return one["ts"].get<double>() < other["ts"].get<double>();
  });
  std::map<int, int> spans;
  std::map<std::pair<int, std::string>, int> open;
  for (const Json& event : events) {
    const std::string kind = kind_of(event);
    const int source = event["pid"].get<int>();
    const int rank = trace["otherData"]["sources"][static_cast<size_t>(source)]["rank"].get<int>();
    int& level = open[{source, event["id2"].dump()}];
    level += kind == begin ? 1 : -1;
    EXPECT_TRUE(level == 0 || level == 1) << event.dump();
    spans[rank] += kind == end;
  }
  for (const auto& [span, level] : open) EXPECT_EQ(level, 0) << begin << " " << span.second;
  return spans;
}

std::map<std::string, int> count_kinds(const Json& trace) {
  std::map<std::string, int> kinds;
  for (const Json& event : trace["traceEvents"]) ++kinds[kind_of(event)];
  return kinds;
}

// Of 64 small collectives at least every sixteenth is there, of the larger ones every one.
TEST(TraceOutput, AtExitHoldsTheOperationsOfEveryRank) {
  const TemporaryFolder folder;
  const ChildEnd end = run_child({{"RAILCCL_TRACE", folder.file("trace.%r.json")}}, [] {
    run_ranks(2, [](RankOf& self) {
      all_reduce(self, 1, 64);
      all_reduce(self, 10'000, 5);
      all_reduce(self, 300'000, 3);
    });
  });
  ASSERT_EQ(end.exit_code, 0) << end.output;
  EXPECT_THAT(end.output, ::testing::Not(HasSubstr("failed"))) << end.output;
  // %r is the rank of whichever thread made its communicator first.
  std::string text = read_file(folder.file("trace.0.json"));
  if (text.empty()) text = read_file(folder.file("trace.1.json"));
  const Json trace = Json::parse(text);
  const std::map<int, int> operations = count_spans(trace, "operation begin", "operation end");
  for (const int rank : {0, 1}) {
    EXPECT_GE(operations.at(rank), 4 + 5 + 3);
    EXPECT_LE(operations.at(rank), 64 + 5 + 3);
  }
  std::map<std::string, int> sizes;
  for (const Json& event : trace["traceEvents"]) {
    if (kind_of(event) == "operation begin") ++sizes[event["args"]["bytes"].dump()];
  }
  EXPECT_EQ(sizes["40000"], 2 * 5);
  EXPECT_EQ(sizes["1200000"], 2 * 3);
  const std::map<int, int> steps = count_spans(trace, "step begin", "step end");
  EXPECT_GE(steps.at(0), 3);
  EXPECT_GE(steps.at(1), 3);
  count_spans(trace, "wait begin", "wait end");
}

TEST(TraceOutput, BetweenNodesShowsPutsAndTheirEnds) {
  const TemporaryFolder folder;
  const ChildEnd end =
      run_child({{"RAILCCL_TRACE", folder.file("trace")}, {"RAILCCL_RANKS_PER_NODE", "1"}}, [] {
        run_ranks(2, [](RankOf& self) {
          all_reduce(self, 100'000, 2);
          std::vector<float> data(50'000);
          ncclGroupStart();
          ncclSend(data.data(), data.size(), ncclFloat, 1 - self.rank, self.comm, nullptr);
          ncclRecv(data.data(), data.size(), ncclFloat, 1 - self.rank, self.comm, nullptr);
          ncclGroupEnd();
        });
      });
  ASSERT_EQ(end.exit_code, 0) << end.output;
  const Json trace = Json::parse(read_file(folder.file("trace")));
  // Two collectives, and a send and a receive.
  const std::map<int, int> expected = {{0, 4}, {1, 4}};
  EXPECT_EQ(count_spans(trace, "operation begin", "operation end"), expected);
  const std::map<int, int> puts = count_spans(trace, "put posted", "put done");
  EXPECT_GE(puts.at(0), 3);
  EXPECT_GE(puts.at(1), 3);
  std::map<std::string, int> kinds = count_kinds(trace);
  EXPECT_GE(kinds["ready"], 4);
  EXPECT_GE(kinds["chunk posted"], 6);
  EXPECT_GE(kinds["arrived"], 6);
}

// A small operation leaves one record, unless somebody is kept waiting in it.
TEST(TraceOutput, BetweenNodesTheWaitsOfASmallOperationThatLastsAreThere) {
  const TemporaryFolder folder;
  const ChildEnd end =
      run_child({{"RAILCCL_TRACE", folder.file("trace")}, {"RAILCCL_RANKS_PER_NODE", "1"}}, [] {
        run_ranks(2, [](RankOf& self) {
          all_reduce(self, 10, 1);
          if (self.rank == 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
          all_reduce(self, 10, 1);
        });
      });
  ASSERT_EQ(end.exit_code, 0) << end.output;
  const Json trace = Json::parse(read_file(folder.file("trace")));
  const std::map<int, int> expected = {{0, 2}, {1, 2}};
  EXPECT_EQ(count_spans(trace, "operation begin", "operation end"), expected);
  count_spans(trace, "step begin", "step end");
  EXPECT_GE(count_spans(trace, "wait begin", "wait end").at(0), 1);
  bool waits_for_the_late_one = false;
  for (const Json& event : trace["traceEvents"]) {
    if (kind_of(event) != "wait begin" || event["args"]["sequence"] != 2) continue;
    waits_for_the_late_one = waits_for_the_late_one || event["args"]["peer"] == 1;
  }
  EXPECT_TRUE(waits_for_the_late_one);
}

TEST(TraceOutput, OnASignal) {
  const TemporaryFolder folder;
  const std::string file = folder.file("trace");
  const ChildEnd end =
      run_child({{"RAILCCL_TRACE", file}, {"RAILCCL_TRACE_SIGNAL", "USR2"}}, [&file] {
        run_ranks(2, [](RankOf& self) { all_reduce(self, 10'000, 5); });
        raise(SIGUSR2);
        wait_for_file(file);
        _exit(0);  // so that the end of the process writes nothing
      });
  ASSERT_EQ(end.exit_code, 0) << end.output;
  const std::map<int, int> expected = {{0, 5}, {1, 5}};
  const Json trace = Json::parse(read_file(file));
  EXPECT_EQ(count_spans(trace, "operation begin", "operation end"), expected);
}

TEST(TraceOutput, AfterAnErrorThatEndsACommunicator) {
  const TemporaryFolder folder;
  const std::string file = folder.file("trace");
  const ChildEnd end = run_child({{"RAILCCL_TRACE", file}}, [&file] {
    run_ranks(2, [](RankOf& self) {
      std::vector<float> data(1000);
      const size_t count = self.rank == 0 ? 1000 : 999;
      ncclAllReduce(data.data(), data.data(), count, ncclFloat, ncclSum, self.comm, nullptr);
      ncclCommAbort(self.comm);
      self.comm = nullptr;
    });
    wait_for_file(file);
    _exit(0);
  });
  ASSERT_EQ(end.exit_code, 0) << end.output;
  const Json trace = Json::parse(read_file(file));
  EXPECT_GE(count_kinds(trace)["error"], 2);
  EXPECT_THAT(end.output, HasSubstr("differs between ranks"));
}

TEST(TraceOutput, RingAndOffLeaveNoFile) {
  for (const char* where : {"ring", "off"}) {
    const TemporaryFolder folder;
    const std::string inside = folder.file("");
    const ChildEnd end = run_child({{"RAILCCL_TRACE", where}}, [&inside] {
      if (chdir(inside.c_str()) != 0) std::cout << "failed: chdir\n";
      run_ranks(1, [](RankOf& self) { all_reduce(self, 1000, 1); });
    });
    EXPECT_EQ(end.exit_code, 0);
    EXPECT_EQ(end.output, "");
    EXPECT_EQ(read_file(folder.file(where)), "");
  }
}

TEST(TraceOutput, WhatCannotBeServedIsSaidAtTheStart) {
  const auto start = [](const std::map<std::string, std::string>& environment) {
    return run_child(environment,
                     [] {
                       ncclUniqueId id;
                       ncclGetUniqueId(&id);
                       std::cout << ncclGetLastError(nullptr);
                     })
        .output;
  };
  EXPECT_THAT(start({{"RAILCCL_TRACE", "/no/such/folder/trace"}}), HasSubstr("RAILCCL_TRACE"));
  EXPECT_THAT(start({{"RAILCCL_TRACE", "/no/such/folder/trace"}}),
              HasSubstr("/no/such/folder does not"));
  EXPECT_THAT(start({{"RAILCCL_TRACE", "off"}, {"RAILCCL_TRACE_SIGNAL", "USR1"}}),
              HasSubstr("RAILCCL_TRACE_SIGNAL"));
}

}  // namespace
}  // namespace railccl::test
