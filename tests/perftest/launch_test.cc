#include "perftest/common/launch.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

namespace railccl::perftest {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

struct Launched {
  int code = -1;
  std::string output;
  std::string errors;
};

Launched launched(int ranks, std::vector<std::string> words, int grace_ms = 60'000) {
  words.insert(words.begin(), LAUNCH_PROBE);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const auto code = launch({.ranks = ranks, .command = words, .grace_ms = grace_ms});
  EXPECT_TRUE(code) << code.error().message;
  return {code.value_or(-1), testing::internal::GetCapturedStdout(),
          testing::internal::GetCapturedStderr()};
}

std::vector<pid_t> read_pids(const std::string& file) {
  std::ifstream in(file);
  std::vector<pid_t> pids;
  for (pid_t pid = 0; in >> pid;) pids.push_back(pid);
  return pids;
}

// A zombie that init has not collected yet has ended too.
bool is_running(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string number, name, state;
  return static_cast<bool>(stat >> number >> name >> state) && state != "Z" && state != "X";
}

std::string temporary_file(const std::string& name) {
  const std::string path = testing::TempDir() + name + std::to_string(getpid());
  std::filesystem::remove(path);
  return path;
}

void wait_for(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(condition());
}

TEST(Launch, ShowsRankZeroAndEveryonesErrors) {
  const Launched run = launched(3, {"say", "table of %r", "complain", "trouble at %r"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.output, "table of 0\n");
  for (const char* line :
       {"[rank 0] trouble at 0\n", "[rank 1] trouble at 1\n", "[rank 2] trouble at 2\n"}) {
    EXPECT_THAT(run.errors, HasSubstr(line));
  }
}

TEST(Launch, ReturnsTheWorstExitCode) {
  EXPECT_EQ(launched(3, {"exit", "1", "3", "exit", "2", "7"}).code, 7);
  const Launched killed = launched(2, {"die", "1", std::to_string(SIGSEGV)});
  EXPECT_EQ(killed.code, 128 + SIGSEGV);
  EXPECT_THAT(killed.errors, HasSubstr("[rank 1] killed by signal 11"));
}

TEST(Launch, EndsTheOthersWhenARankDies) {
  const std::string file = temporary_file("orphans");
  const Launched run = launched(4, {"pid", file, "exit", "2", "5", "hang"}, 1);
  EXPECT_EQ(run.code, 5);
  EXPECT_THAT(run.errors, HasSubstr("did not end in time after another rank had failed: killed"));
  for (const pid_t pid : read_pids(file)) EXPECT_FALSE(is_running(pid)) << pid;
  std::filesystem::remove(file);
}

TEST(Launch, MissingProgramIsAnError) {
  testing::internal::CaptureStderr();
  const auto code = launch({.ranks = 1, .command = {"/nonexistent/program"}});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("/nonexistent/program"));
  EXPECT_EQ(code.value_or(-1), 127);
}

// The launcher in a process of its own, which is interrupted or killed.
class InterruptedLaunch : public testing::TestWithParam<int> {};

TEST_P(InterruptedLaunch, LeavesNoProcessBehind) {
  const std::string file = temporary_file("interrupted");
  const pid_t launcher = fork();
  ASSERT_GE(launcher, 0);
  if (launcher == 0) {
    const auto code = launch({.ranks = 3, .command = {LAUNCH_PROBE, "pid", file, "hang"}});
    _exit(code.value_or(99));
  }
  wait_for([&] { return read_pids(file).size() == 3; });
  kill(launcher, GetParam());
  int status = 0;
  ASSERT_EQ(waitpid(launcher, &status, 0), launcher);
  if (GetParam() == SIGKILL) {
    EXPECT_TRUE(WIFSIGNALED(status));
  } else {
    EXPECT_EQ(WEXITSTATUS(status), 128 + GetParam());
  }
  for (const pid_t pid : read_pids(file)) wait_for([&] { return !is_running(pid); });
  std::filesystem::remove(file);
}
INSTANTIATE_TEST_SUITE_P(Signals, InterruptedLaunch, testing::Values(SIGINT, SIGTERM, SIGKILL));

TEST(RankEnvironment, IsThatOfTorchrun) {
  const LaunchPlan plan{.ranks = 4, .nodes = 0};
  EXPECT_THAT(
      rank_environment(plan, {.port = 12345, .secret = "s"}, 3),
      ElementsAre(Pair("GROUP_RANK", "0"), Pair("GROUP_WORLD_SIZE", "1"), Pair("LOCAL_RANK", "3"),
                  Pair("LOCAL_WORLD_SIZE", "4"), Pair("MASTER_ADDR", "127.0.0.1"),
                  Pair("MASTER_PORT", "12345"), Pair("NCCL_COMM_ID", ""),
                  Pair("RAILCCL_COMM_ID", ""), Pair("RAILCCL_JOB_SECRET", "s"), Pair("RANK", "3"),
                  Pair("WORLD_SIZE", "4")));
}

TEST(RankEnvironment, VirtualNodesAreBlocksOfRanks) {
  const LaunchPlan plan{.ranks = 5, .nodes = 2};
  std::vector<std::string> nodes, locals;
  for (int rank = 0; rank < 5; ++rank) {
    auto variables = rank_environment(plan, {}, rank);
    nodes.push_back(variables["RAILCCL_HOSTID"]);
    locals.push_back(variables["LOCAL_RANK"] + "/" + variables["LOCAL_WORLD_SIZE"]);
  }
  EXPECT_THAT(nodes, ElementsAre("virtual-node-0", "virtual-node-0", "virtual-node-0",
                                 "virtual-node-1", "virtual-node-1"));
  EXPECT_THAT(locals, ElementsAre("0/3", "1/3", "2/3", "0/2", "1/2"));
}

TEST(RankEnvironment, ReachesTheRanks) {
  setenv("RAILCCL_COMM_ID", "elsewhere:1", 1);
  const Launched run = launched(2, {"env", "RANK", "env", "WORLD_SIZE", "env", "RAILCCL_COMM_ID"});
  unsetenv("RAILCCL_COMM_ID");
  EXPECT_THAT(run.errors, HasSubstr("[rank 1] RANK=1\n"));
  EXPECT_THAT(run.errors, HasSubstr("[rank 0] WORLD_SIZE=2\n"));
  EXPECT_THAT(run.errors, HasSubstr("[rank 1] RAILCCL_COMM_ID=(unset)\n"));
}

TEST(RankCommand, LeavesOutTheStart) {
  EXPECT_THAT(rank_command({"-b", "8", "--local", "4", "--virtual-nodes=2", "-e", "8"}),
              ElementsAre("/proc/self/exe", "-b", "8", "-e", "8"));
}

}  // namespace
}  // namespace railccl::perftest
