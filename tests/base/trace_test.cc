#include "src/base/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "src/base/trace_dump.h"
#include "src/base/write_file.h"

namespace railccl {
namespace {

using Json = nlohmann::json;

// Every field follows from the number, so that a torn record shows.
TraceRecord numbered(uint64_t number) {
  return {.time_ns = number,
          .kind = static_cast<TraceKind>(number % kTraceKinds),
          .rail = static_cast<int8_t>(number % 128),
          .source = static_cast<TraceSource>(number % 65536),
          .peer = static_cast<int32_t>(number % 1000003) - 1,
          .a = number * 3,
          .b = ~number};
}

void expect_same(const TraceRecord& left, const TraceRecord& right) {
  EXPECT_EQ(left.time_ns, right.time_ns);
  EXPECT_EQ(left.kind, right.kind);
  EXPECT_EQ(left.rail, right.rail);
  EXPECT_EQ(left.source, right.source);
  EXPECT_EQ(left.peer, right.peer);
  EXPECT_EQ(left.a, right.a);
  EXPECT_EQ(left.b, right.b);
}

TEST(TraceRing, KeepsEveryFieldIncludingItsExtremes) {
  TraceRing ring(8);
  const TraceRecord extreme = {.time_ns = std::numeric_limits<uint64_t>::max(),
                               .kind = TraceKind::kMark,
                               .rail = -128,
                               .source = 65535,
                               .peer = std::numeric_limits<int32_t>::min(),
                               .a = std::numeric_limits<uint64_t>::max(),
                               .b = 0};
  ring.write(extreme);
  ring.write({});
  const auto snapshot = ring.snapshot();
  ASSERT_EQ(snapshot.records.size(), 2u);
  expect_same(snapshot.records[0], extreme);
  expect_same(snapshot.records[1], {});
}

TEST(TraceRing, KeepsTheLatestAndCountsTheLost) {
  TraceRing ring(5);
  EXPECT_EQ(ring.capacity(), 8u);
  EXPECT_TRUE(ring.snapshot().records.empty());
  for (uint64_t i = 0; i < 20; ++i) {
    ring.write(numbered(i));
    const auto snapshot = ring.snapshot();
    const uint64_t kept = std::min<uint64_t>(i + 1, 7);
    ASSERT_EQ(snapshot.records.size(), kept);
    EXPECT_EQ(snapshot.lost, i + 1 - kept);
    for (uint64_t j = 0; j < kept; ++j)
      expect_same(snapshot.records[j], numbered(i + 1 - kept + j));
  }
}

// A reader that is lapped sees whole records only, in order. It goes on until the writer has been
// at work during many of its snapshots.
TEST(TraceRing, IsReadWholeWhileItIsWritten) {
  constexpr int kMovingSnapshots = 300;
  constexpr uint64_t kMostRecords = uint64_t{1} << 32;  // ends the test should the reader fail
  TraceRing ring(64);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t i = 0; i < kMostRecords && !stop; ++i) ring.write(numbered(i));
  });
  int moving = 0;
  bool whole = true;
  while (moving < kMovingSnapshots && whole) {
    const uint64_t written_before = ring.written();
    const auto snapshot = ring.snapshot();
    if (ring.written() - written_before > ring.capacity() / 2) ++moving;
    uint64_t next = snapshot.lost;
    for (const TraceRecord& record : snapshot.records) {
      const TraceRecord expected = numbered(next++);
      whole = whole && record.time_ns == expected.time_ns && record.kind == expected.kind &&
              record.rail == expected.rail && record.source == expected.source &&
              record.peer == expected.peer && record.a == expected.a && record.b == expected.b;
    }
  }
  stop = true;
  writer.join();
  EXPECT_TRUE(whole) << "a record was torn or out of order";
  EXPECT_EQ(moving, kMovingSnapshots);
  EXPECT_EQ(ring.snapshot().records.back().time_ns, ring.written() - 1);
}

// Records of this test in the process's rings, found by their peer.
std::vector<TraceRecord> recorded_for(int32_t peer) {
  std::vector<TraceRecord> found;
  for (const TraceThread& thread : trace_snapshot()) {
    for (const TraceRecord& record : thread.snapshot.records) {
      if (record.peer == peer) found.push_back(record);
    }
  }
  return found;
}

TEST(Trace, RecordsNothingWhenOff) {
  set_trace_enabled(false);
  trace({.peer = 1001});
  EXPECT_TRUE(recorded_for(1001).empty());
}

TEST(Trace, RecordsOfEveryThreadAlsoOfEndedOnes) {
  set_trace_enabled(true);
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([i] {
      for (uint64_t j = 0; j < 100; ++j) {
        trace_at(j, {.peer = 1002, .a = static_cast<uint64_t>(i), .b = j});
      }
    });
  }
  for (int round = 0; round < 10; ++round) EXPECT_LE(recorded_for(1002).size(), 400u);
  for (auto& thread : threads) thread.join();
  set_trace_enabled(false);
  const auto records = recorded_for(1002);
  EXPECT_EQ(records.size(), 400u);
  for (uint64_t i = 0; i < kThreads; ++i) {
    EXPECT_EQ(std::count_if(records.begin(), records.end(),
                            [&](const TraceRecord& record) { return record.a == i; }),
              100);
  }
}

TEST(Trace, TakesOverTheRingsOfEndedThreads) {
  set_trace_enabled(true);
  std::thread([] { trace({.peer = 1003}); }).join();
  const size_t rings = trace_snapshot().size();
  for (int i = 0; i < 20; ++i) std::thread([] { trace({.peer = 1003}); }).join();
  set_trace_enabled(false);
  EXPECT_EQ(trace_snapshot().size(), rings);
  EXPECT_EQ(recorded_for(1003).size(), 21u);
}

TEST(Trace, NamesSourcesOnce) {
  const TraceSource first = add_trace_source(0xabc, 3);
  const TraceSource second = add_trace_source(0xabc, 4);
  EXPECT_NE(first, second);
  EXPECT_EQ(add_trace_source(0xabc, 3), first);
  const auto sources = trace_sources();
  EXPECT_EQ(sources[second].communicator, 0xabcu);
  EXPECT_EQ(sources[second].rank, 4);
  EXPECT_EQ(sources[0].rank, -1);
}

TEST(TraceRecord, PacksAndUnpacksArguments) {
  const uint64_t operation = trace_operation(Collective::kAllToAll, uint64_t{5} << 40);
  EXPECT_EQ(trace_operation_collective(operation), Collective::kAllToAll);
  EXPECT_EQ(trace_operation_bytes(operation), uint64_t{5} << 40);
  EXPECT_EQ(trace_step(7, 3, 12), uint64_t{7} << 32 | 3u << 24 | 12u);
  const uint64_t longest = trace_short_operation(Collective::kReduce, 3600 * kSecond, 8192);
  EXPECT_EQ(trace_operation_collective(longest), Collective::kReduce);
  EXPECT_EQ(trace_short_operation_ns(longest), 0xffffffffu);
  EXPECT_EQ(trace_short_operation_bytes(longest), 8192u);
}

TEST(TraceRecord, EveryBeginHasAnEndOfItsSpan) {
  for (int i = 0; i < kTraceKinds; ++i) {
    const TraceKindInfo& info = trace_kind_info(static_cast<TraceKind>(i));
    EXPECT_FALSE(info.name.empty());
    int balance = 0;
    for (int j = 0; j < kTraceKinds && !info.span.empty(); ++j) {
      const TraceKindInfo& other = trace_kind_info(static_cast<TraceKind>(j));
      if (other.span != info.span) continue;
      balance += other.phase == TraceKindInfo::Phase::kBegin ? 1 : -1;
      EXPECT_EQ(other.a_name, info.a_name) << info.span;
    }
    EXPECT_EQ(balance, 0) << info.span;
  }
}

TraceCapture example_capture() {
  TraceCapture capture{.sources = {{}, {0xabc, 3}},
                       .host = "node\"1\xff",
                       .process_id = 77,
                       .monotonic_ns = 1000,
                       .realtime_ns = 2000,
                       .clock_offset_ns = -1500};
  TraceThread thread{.thread_id = 12, .name = "progress"};
  thread.snapshot.lost = 9;
  thread.snapshot.records = {
      {.time_ns = 1000,
       .kind = TraceKind::kOperationBegin,
       .source = 1,
       .a = 5,
       .b = trace_operation(Collective::kAllReduce, 4096)},
      {.time_ns = 2001, .kind = TraceKind::kStepBegin, .source = 1, .a = trace_step(5, 2, 7)},
      {.time_ns = 3000, .kind = TraceKind::kRailState, .rail = 1, .source = 1, .peer = 2, .a = 4},
      {.time_ns = 4000, .kind = TraceKind::kOperationEnd, .source = 1, .a = 5}};
  capture.threads.push_back(thread);
  return capture;
}

TEST(TraceDump, IsChromeTraceJson) {
  const Json json = Json::parse(chrome_trace_json(example_capture()));
  EXPECT_EQ(json["otherData"]["process_id"], 77);
  EXPECT_EQ(json["otherData"]["clock_offset_ns"], -1500);
  EXPECT_EQ(json["otherData"]["lost_records"], 9);
  EXPECT_EQ(json["otherData"]["sources"][1]["rank"], 3);
  std::vector<Json> events;
  for (const Json& event : json["traceEvents"]) {
    if (event["ph"] != "M") events.push_back(event);
  }
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0]["ph"], "b");
  EXPECT_EQ(events[0]["name"], "AllReduce");
  EXPECT_EQ(events[0]["args"]["bytes"], 4096);
  EXPECT_EQ(events[0]["ts"].get<double>(), -0.5);
  EXPECT_EQ(events[1]["ts"].get<double>(), 0.501);
  EXPECT_EQ(events[1]["args"]["sequence"], 5);
  EXPECT_EQ(events[1]["args"]["slot"], 2);
  EXPECT_EQ(events[1]["args"]["step"], 7);
  EXPECT_EQ(events[2]["ph"], "i");
  EXPECT_EQ(events[2]["args"]["rail"], 1);
  EXPECT_EQ(events[2]["args"]["peer"], 2);
  EXPECT_EQ(events[3]["ph"], "e");
  EXPECT_EQ(events[3]["cat"], events[0]["cat"]);
  EXPECT_EQ(events[3]["id2"], events[0]["id2"]);
}

TEST(TraceDump, AShortOperationIsABeginAndAnEnd) {
  TraceCapture capture{.sources = {{}, {0xabc, 3}}};
  TraceThread thread;
  thread.snapshot.records = {{.time_ns = 5000,
                              .kind = TraceKind::kOperation,
                              .source = 1,
                              .a = 48,
                              .b = trace_short_operation(Collective::kAllGather, 250, 64)}};
  capture.threads.push_back(thread);
  std::vector<Json> events;
  const Json json = Json::parse(chrome_trace_json(capture));
  for (const Json& event : json["traceEvents"]) {
    if (event["ph"] != "M") events.push_back(event);
  }
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["ph"], "b");
  EXPECT_EQ(events[0]["name"], "AllGather");
  EXPECT_EQ(events[0]["ts"].get<double>(), 5.0);
  EXPECT_EQ(events[0]["args"]["bytes"], 64);
  EXPECT_EQ(events[0]["args"]["sequence"], 48);
  EXPECT_EQ(events[1]["ph"], "e");
  EXPECT_EQ(events[1]["ts"].get<double>(), 5.25);
  EXPECT_EQ(events[1]["args"]["code"], 0);
  EXPECT_EQ(events[1]["id2"], events[0]["id2"]);
}

TEST(TraceDump, WritesTheProcessToAFile) {
  set_trace_enabled(true);
  trace({.kind = TraceKind::kMark, .peer = 1004, .a = 1});
  set_trace_enabled(false);
  const std::string path = testing::TempDir() + fmt::format("railccl_trace_{}", getpid());
  const Status status = dump_trace(path, 0);
  ASSERT_TRUE(status) << status.message();
  const Json json = Json::parse(std::ifstream(path));
  unlink(path.c_str());
  const auto& events = json["traceEvents"];
  EXPECT_EQ(std::count_if(events.begin(), events.end(),
                          [](const Json& event) {
                            return event["ph"] == "i" && event["args"].value("peer", 0) == 1004;
                          }),
            1);
}

TEST(WriteFile, ReplacesTheWholeFileAndLeavesNothingBesideIt) {
  const std::string path = testing::TempDir() + fmt::format("railccl_write_{}", getpid());
  ASSERT_TRUE(write_file(path, "a longer text"));
  ASSERT_TRUE(write_file(path, "short"));
  std::string text;
  std::getline(std::ifstream(path), text);
  EXPECT_EQ(text, "short");
  unlink(path.c_str());
  const Status status = write_file("/proc/none/file", "x");
  EXPECT_EQ(status.code(), Code::kSystemError);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/proc/none/file"));
}

// Bounds hold whatever happens between the readings: fast time is taken between two exact ones.
TEST(FastClock, AgreesWithTheSystemClockAndDoesNotGoBack) {
  constexpr TimeNs kTolerance = 50 * kMicrosecond;
  TimeNs previous = 0;
  for (int i = 0; i < 200000; ++i) {
    const TimeNs before = system_clock().now_ns();
    const TimeNs now = fast_now_ns();
    const TimeNs after = system_clock().now_ns();
    ASSERT_GE(now + kTolerance, before);
    ASSERT_LE(now, after + kTolerance);
    ASSERT_GE(now, previous);
    previous = now;
  }
}

}  // namespace
}  // namespace railccl
