// Processes that are killed, stopped, or leave: every other one is told, by name, and the rest goes
// on over the mended tree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <set>
#include <sstream>

#include "tests/core/bootstrap_world.h"

namespace railccl::test {
namespace {

using ::testing::HasSubstr;

// Waits for the loss of `expected`, then gathers among who is left, says what it saw, and ends.
void live(const UniqueIdBytes& id, const BootstrapOptions& options, const std::set<int>& expected,
          const ForkedRank::Report& report) {
  const auto result = connect_rank({&id, 1}, options);
  if (!result) return report("failed: " + std::string(result.error().message()));
  ControlPath& path = **result;
  RecordingSink sink;
  report("up");
  const bool told = drive_until(
      path, sink, [&] { return !sink.failures.empty() || sink.lost.size() == expected.size(); });
  std::string line = told ? "told" : "not told";
  for (const auto& [rank, text] : sink.lost) {
    line += fmt::format("; {} x{} {}", rank, sink.lost_count[rank], text);
  }
  for (const auto& [origin, status] : sink.failures)
    line += "; failure " + std::string(status.message());
  report(line);
  if (!sink.failures.empty()) return;
  // The rest of the tree must still carry a gather, and messages to anyone.
  const std::string mine = fmt::format("blob of {}", options.rank);
  bool begun = path.begin_gather(1, bytes_of(mine)).is_ok();
  begun = begun && drive_until(path, sink, [&] { return path.poll_gather(1) != nullptr; });
  line = begun ? "gathered" : "gather failed";
  for (int rank = 0; begun && rank < options.ranks; ++rank) {
    const std::string blob = text_of((*path.poll_gather(1))[static_cast<size_t>(rank)]);
    const bool right =
        expected.contains(rank) ? blob.empty() : blob == fmt::format("blob of {}", rank);
    if (!right) line += fmt::format("; wrong blob of {}: '{}'", rank, blob);
  }
  report(line);
  path.close({});
  const bool closed = drive_until(path, sink, [&] { return path.closed(); });
  report(closed ? fmt::format("closed, {} lost", sink.lost.size()) : "not closed");
}

struct Processes {
  Processes(int ranks, const std::set<int>& victims,
            const std::function<void(BootstrapOptions&)>& adjust = {}) {
    for (int rank = 0; rank < ranks; ++rank) {
      BootstrapOptions options = loopback_options(rank, ranks);
      if (adjust) adjust(options);
      all.push_back(std::make_unique<ForkedRank>(
          [=, id = root.id()](const auto& report) { live(id, options, victims, report); }));
    }
    for (auto& process : all) EXPECT_EQ(process->next_line(), "up");
  }
  void expect_told(const std::set<int>& victims, const std::string& why) {
    for (size_t rank = 0; rank < all.size(); ++rank) {
      if (victims.contains(static_cast<int>(rank))) continue;
      const std::string line = all[rank]->next_line();
      EXPECT_TRUE(line.starts_with("told;")) << "rank " << rank << ": " << line;
      for (const int victim : victims) {
        EXPECT_THAT(line, HasSubstr(fmt::format("; {} x1 rank {} (host host{}, process {}) is lost",
                                                victim, victim, victim / 8,
                                                all[static_cast<size_t>(victim)]->pid())));
        EXPECT_THAT(line, HasSubstr(why)) << "rank " << rank;
      }
    }
    for (size_t rank = 0; rank < all.size(); ++rank) {
      if (victims.contains(static_cast<int>(rank))) continue;
      EXPECT_EQ(all[rank]->next_line(), "gathered") << "rank " << rank;
    }
    for (size_t rank = 0; rank < all.size(); ++rank) {
      if (victims.contains(static_cast<int>(rank))) continue;
      EXPECT_EQ(all[rank]->next_line(), fmt::format("closed, {} lost", victims.size()));
    }
  }
  ForkedRoot root;
  std::vector<std::unique_ptr<ForkedRank>> all;
};

struct Deaths {
  const char* name;
  int ranks;
  std::set<int> victims;
};
void PrintTo(const Deaths& deaths, std::ostream* out) { *out << deaths.name; }

class KilledRanks : public ::testing::TestWithParam<Deaths> {};

// The silence timeout is far longer than the test may take: only the ends of connections can tell.
TEST_P(KilledRanks, AreNamedToAllOthersAtOnceAndTheRestGoesOn) {
  const Deaths& deaths = GetParam();
  Processes processes(deaths.ranks, deaths.victims, [](BootstrapOptions& options) {
    options.silence_timeout_ns = 600 * kSecond;
  });
  const TimeNs killed = system_clock().now_ns();
  for (const int victim : deaths.victims) {
    processes.all[static_cast<size_t>(victim)]->signal(SIGKILL);
  }
  processes.expect_told(deaths.victims, "its process has ended");
  RecordProperty("milliseconds",
                 static_cast<int>((system_clock().now_ns() - killed) / kMillisecond));
}

// 30 ranks: 0 has 1..8, 1 has 9..16, 2 has 17..24, 3 has 25..29.
INSTANTIATE_TEST_SUITE_P(
    Tree, KilledRanks,
    ::testing::Values(Deaths{"OneOfTwo", 2, {1}}, Deaths{"RootOfTwo", 2, {0}},
                      Deaths{"Leaf", 30, {20}}, Deaths{"Inner", 30, {2}}, Deaths{"Root", 30, {0}},
                      Deaths{"RootAndItsSuccessor", 30, {0, 1}},
                      Deaths{"InnerAndItsLeaves", 30, {2, 17, 20, 24}},
                      Deaths{"RootInnerAndLeaves", 30, {0, 1, 9, 12, 29}},
                      Deaths{"AllInner", 30, {0, 1, 2, 3}},
                      Deaths{"AllButTwo", 12, {0, 1, 2, 3, 5, 6, 7, 8, 9, 10}}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(StoppedRanks, AreTakenForLostAfterTheSilenceTimeoutAndLearnIt) {
  const std::set<int> victims = {3};
  Processes processes(12, victims,
                      [](BootstrapOptions& options) { options.silence_timeout_ns = kSecond; });
  processes.all[3]->signal(SIGSTOP);
  processes.expect_told(victims, "nothing was heard from it for 1.0 s");
  processes.all[3]->signal(SIGCONT);
  EXPECT_THAT(processes.all[3]->next_line(),
              HasSubstr("failure the other ranks have given this rank up: rank 3 (host host0"));
}

TEST(StoppedRanks, AWholeHostThatFallsSilentIsNamedRankByRank) {
  // 1 is the parent of 9, 10, 11, 12: the silent ones have silent parents and silent children.
  const std::set<int> victims = {1, 9, 10, 11, 12};
  Processes processes(20, victims,
                      [](BootstrapOptions& options) { options.silence_timeout_ns = kSecond; });
  for (const int victim : victims) {
    processes.all[static_cast<size_t>(victim)]->signal(SIGSTOP);
  }
  processes.expect_told(victims, "s");
}

TEST(SlowRanks, AShortStopIsNoLoss) {
  Processes processes(
      6, {}, [](BootstrapOptions& options) { options.silence_timeout_ns = 600 * kSecond; });
  processes.all[2]->signal(SIGSTOP);
  processes.all[2]->signal(SIGCONT);
  for (auto& process : processes.all) {
    EXPECT_EQ(process->next_line(), "told");  // nothing to be told
    EXPECT_EQ(process->next_line(), "gathered");
    EXPECT_EQ(process->next_line(), "closed, 0 lost");
  }
}

// A rank that does not take in what is sent to it: the sender's queue is bounded.
TEST(SlowRanks, WhoDoesNotTakeInMessagesIsLostAndTheQueueIsBounded) {
  auto paths = world_of_threads(2);
  RecordingSink sink;
  const std::vector<std::byte> message(kMaxControlBytes);
  size_t sent = 0;
  while (sent < (size_t{256} << 20) && paths[0]->send(1, message)) {
    sent += message.size();
    paths[0]->progress(system_clock().now_ns(), sink);
  }
  EXPECT_LT(sent, size_t{64} << 20);  // 16 MiB and what the kernel's buffers hold
  ASSERT_EQ(sink.lost.size(), 1u);
  EXPECT_THAT(sink.lost[1], HasSubstr("does not take them in"));
}

}  // namespace
}  // namespace railccl::test
