// Processes that end while they have communicators: by a signal's handler in the middle of an
// operation, or as a forked child that never had any itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "tests/api/api_world.h"
#include "tests/api/child_process.h"

namespace railccl::test {
namespace {

using ::testing::HasSubstr;

constexpr int kExitCode = 7;

ncclResult_t sum_of_ranks(const RankOf& self, float* result) {
  std::array<float, 1000> data;
  data.fill(static_cast<float>(self.rank + 1));
  const ncclResult_t code =
      ncclAllReduce(data.data(), data.data(), data.size(), ncclFloat, ncclSum, self.comm, nullptr);
  *result = data.back();
  return code;
}

class Exit : public ::testing::TestWithParam<const char*> {
 protected:
  std::map<std::string, std::string> environment() const {
    return {{"RAILCCL_RANKS_PER_NODE", GetParam()}};
  }
};
INSTANTIATE_TEST_SUITE_P(RanksPerNode, Exit, ::testing::Values("1", "2"));

TEST_P(Exit, OfAForkedChildDoesNotDisturbItsParent) {
  const ChildEnd end = run_child(environment(), [] {
    run_ranks(2, [](const RankOf& self) {
      float sum = 0;
      if (sum_of_ranks(self, &sum) != ncclSuccess) std::abort();
      if (self.rank == 0) {
        const pid_t child = fork();
        if (child == 0) std::exit(kExitCode);
        int status = 0;
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != kExitCode) std::abort();
      }
      if (sum_of_ranks(self, &sum) != ncclSuccess) std::abort();
      if (self.rank == 0) std::cout << "sum " << sum << '\n';
    });
  });
  EXPECT_EQ(end.exit_code, 0) << end.output;
  EXPECT_THAT(end.output, HasSubstr("sum 3\n"));
}

// The thread that is interrupted may hold the locks that a leave-taking would need.
TEST_P(Exit, InASignalHandlerEndsAProcessThatWaits) {
  for (int round = 0; round < 3; ++round) {
    const ChildEnd end = run_child(environment(), [] {
      std::signal(SIGUSR1, [](int) { std::exit(kExitCode); });
      run_ranks(2, [](const RankOf& self) {
        float sum = 0;
        if (sum_of_ranks(self, &sum) != ncclSuccess) std::abort();
        if (self.rank == 1) pause();  // and does not come
        std::thread([waiting = pthread_self()] {
          usleep(200'000);
          pthread_kill(waiting, SIGUSR1);
        }).detach();
        sum_of_ranks(self, &sum);
        std::cout << "the operation has returned\n";
      });
    });
    EXPECT_EQ(end.exit_code, kExitCode) << end.output;
  }
}

}  // namespace
}  // namespace railccl::test
