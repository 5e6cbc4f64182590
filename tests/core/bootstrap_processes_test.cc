// Ranks as processes and in large numbers: how long it takes from the start of the last one until
// all are through is printed, and recorded in the test's XML; nothing is asserted about it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "tests/core/bootstrap_world.h"

namespace railccl::test {
namespace {

void note(const char* what, TimeNs time) {
  const auto ms = static_cast<int>(time / kMillisecond);
  ::testing::Test::RecordProperty(what, ms);
  std::printf("           %s: %d ms\n", what, ms);
}

class ManyProcesses : public ::testing::TestWithParam<int> {};

TEST_P(ManyProcesses, MeetAndEnd) {
  const int ranks = GetParam();
  const ForkedRoot root;
  std::vector<std::unique_ptr<ForkedRank>> all;
  for (int rank = 0; rank < ranks; ++rank) {
    all.push_back(std::make_unique<ForkedRank>([&, rank](const ForkedRank::Report& report) {
      const auto path = connect_rank({&root.id(), 1}, loopback_options(rank, ranks));
      if (!path) return report("failed: " + std::string(path.error().message()));
      bool right = true;
      for (int other = 0; other < ranks; ++other) {
        const auto info = (*path)->info(other);
        right &= std::vector(info.begin(), info.end()) == info_of(other);
      }
      report(right ? "up" : "wrong");
      RecordingSink sink;
      (*path)->close({});
      const bool closed = drive_until(**path, sink, [&] { return (*path)->closed(); });
      report(closed && sink.lost.empty() ? "closed" : "not closed");
    }));
  }
  const TimeNs started = system_clock().now_ns();
  for (auto& process : all) EXPECT_EQ(process->next_line(), "up");
  note("from the last start until all are up", system_clock().now_ns() - started);
  for (auto& process : all) EXPECT_EQ(process->next_line(), "closed");
}
INSTANTIATE_TEST_SUITE_P(Sizes, ManyProcesses, ::testing::Values(2, 8, 64));

TEST(ManyThreads, FiveHundredRanksMeetAndEnd) {
  const int ranks = 512;
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_max < 16000)
    GTEST_SKIP() << "needs 16000 open files, allowed are " << files.rlim_max;
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  const TimeNs started = system_clock().now_ns();
  auto paths = world_of_threads(ranks);
  note("512 threads, meeting", system_clock().now_ns() - started);
  std::vector<RecordingSink> sinks(paths.size());
  std::vector<Driven> all;
  for (size_t i = 0; i < paths.size(); ++i) all.push_back({paths[i].get(), &sinks[i]});
  for (auto& path : paths)
    ASSERT_TRUE(path->begin_gather(1, bytes_of(std::to_string(path->rank()))));
  const TimeNs begun = system_clock().now_ns();
  ASSERT_TRUE(drive_until(all, [&] {
    return std::all_of(paths.begin(), paths.end(),
                       [](const auto& path) { return path->poll_gather(1) != nullptr; });
  }));
  note("512 ranks driven by one thread, gather", system_clock().now_ns() - begun);
  EXPECT_EQ(text_of(paths[500]->poll_gather(1)->at(17)), "17");
  const TimeNs closing = system_clock().now_ns();
  EXPECT_TRUE(close_all(all));
  note("512 ranks driven by one thread, goodbye", system_clock().now_ns() - closing);
  for (const RecordingSink& sink : sinks) EXPECT_TRUE(sink.lost.empty());
}

// The root's thread must not hold up the end of its process.
TEST(Processes, ARootThatNobodyCameToDoesNotDelayTheExit) {
  ForkedRank process([](const ForkedRank::Report& report) {
    const UniqueIdBytes id = loopback_id();
    report(id[0] == std::byte{0} ? "no id" : "id");
    std::exit(0);  // with destructors, unlike _exit
  });
  EXPECT_EQ(process.next_line(), "id");
  EXPECT_EQ(process.next_line(), "");  // the pipe is closed: it has ended
  int status = -1;
  EXPECT_EQ(::waitpid(process.pid(), &status, 0), process.pid());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// A child that a rank forks (a data loader) does not hide the rank's death.
TEST(Processes, AForkedChildDoesNotHideTheDeathOfItsParent) {
  const ForkedRoot root;
  const auto options = [](int rank) {
    BootstrapOptions result = loopback_options(rank, 2);
    result.silence_timeout_ns = 600 * kSecond;
    return result;
  };
  ForkedRank victim([&](const ForkedRank::Report& report) {
    const auto path = connect_rank({&root.id(), 1}, options(1));
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(static_cast<unsigned>(2 * kPatience / kSecond));
      ::pause();
    }
    report(std::to_string(child));
    ::pause();
  });
  auto path = connect_rank({&root.id(), 1}, options(0));
  ASSERT_TRUE(path) << path.error().message();
  const pid_t child = std::stoi(victim.next_line());
  ASSERT_GT(child, 0);
  victim.signal(SIGKILL);
  RecordingSink sink;
  EXPECT_TRUE(drive_until(**path, sink, [&] { return sink.lost.contains(1); }));
  EXPECT_EQ(::kill(child, SIGKILL), 0);  // it was there all the time
}

}  // namespace
}  // namespace railccl::test
