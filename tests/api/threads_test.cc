// The C API from many threads: communicators side by side, several threads on one, and ends that
// come from another thread. Runs twice: ranks of one node, and each on a node of its own. What the
// thread sanitizer says of it counts as much as its results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/api/api_world.h"

namespace railccl::test {
namespace {

using ::testing::HasSubstr;

std::string last_error() { return ncclGetLastError(nullptr); }

// One count for each way that data takes: cache lines or messages, pieces, whole schedules.
constexpr size_t kCounts[] = {2, 20'000, 400'000};

// A sum of one value per rank, with buffers of its own.
class Sum {
 public:
  Sum(size_t count, int value) : data_(count, value) {}
  ncclResult_t run(ncclComm_t comm) {
    return ncclAllReduce(data_.data(), data_.data(), data_.size(), ncclInt, ncclSum, comm, nullptr);
  }
  void expect(ncclComm_t comm, int expected) {
    EXPECT_EQ(run(comm), ncclSuccess) << last_error();
    EXPECT_EQ(data_, std::vector<int>(data_.size(), expected));
  }

 private:
  std::vector<int> data_;
};

// A thread that is about to call something that blocks says who it is; others wait until the kernel
// has it asleep, which it can only be inside the call, or until it has returned.
class Blocked {
 public:
  void about_to_call() { thread_.store(gettid()); }
  void returned() { returned_.store(true); }
  void await() const {
    while (!returned_.load() && state() != 'S') std::this_thread::yield();
  }

 private:
  char state() const {
    const int thread = thread_.load();
    if (thread == 0) return 0;
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string stat;
    std::getline(file, stat);
    const size_t name_end = stat.rfind(')');
    return name_end == std::string::npos ? '0' : stat[name_end + 2];
  }

  std::atomic<int> thread_{0};
  std::atomic<bool> returned_{false};
};

std::vector<ncclComm_t> start_ranks(int ranks) {
  std::vector<ncclComm_t> comms(static_cast<size_t>(ranks));
  EXPECT_EQ(ncclCommInitAll(comms.data(), ranks, nullptr), ncclSuccess) << last_error();
  return comms;
}

void destroy_all(const std::vector<ncclComm_t>& comms) {
  std::vector<std::thread> threads;
  for (ncclComm_t comm : comms) {
    threads.emplace_back([comm] { EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Threads, CommunicatorsSideBySideBeginAndEndWhileOthersWork) {
  std::vector<std::thread> jobs;
  for (int job = 0; job < 3; ++job) {
    jobs.emplace_back([] {
      for (int round = 0; round < 3; ++round) {
        run_ranks(2, [](RankOf& self) {
          for (const size_t count : kCounts) {
            Sum(count, self.rank + 1).expect(self.comm, 3);
          }
        });
      }
    });
  }
  for (std::thread& job : jobs) job.join();
}

TEST(Threads, SeveralThreadsCallOnOneCommunicator) {
  run_ranks(2, [](RankOf& self) {
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 3; ++caller) {
      callers.emplace_back([&self] {
        for (int call = 0; call < 20; ++call) {
          Sum(5000, self.rank + 1).expect(self.comm, 3);
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  });
}

TEST(Threads, OneThreadPerRankInGroupsAndStreamsOverTwoCommunicators) {
  const std::vector<ncclComm_t> first = start_ranks(3);
  const std::vector<ncclComm_t> second = start_ranks(3);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      railcclStream_t stream = nullptr;
      ASSERT_EQ(railcclStreamCreate(&stream), ncclSuccess);
      std::vector<int64_t> sum(30'000, 1);
      std::vector<int64_t> sent(3000, static_cast<int64_t>(rank));
      std::vector<int64_t> received(3000, -1);
      for (int round = 0; round < 5; ++round) {
        const auto next = static_cast<int>((rank + 1) % 3);
        const auto previous = static_cast<int>((rank + 2) % 3);
        ncclGroupStart();
        ncclAllReduce(sum.data(), sum.data(), sum.size(), ncclInt64, ncclSum, first[rank], stream);
        ncclSend(sent.data(), sent.size(), ncclInt64, next, second[rank], stream);
        ncclRecv(received.data(), received.size(), ncclInt64, previous, second[rank], stream);
        ASSERT_EQ(ncclGroupEnd(), ncclSuccess) << last_error();
        ASSERT_EQ(railcclStreamSynchronize(stream), ncclSuccess) << last_error();
        EXPECT_EQ(received, std::vector<int64_t>(3000, previous));
      }
      EXPECT_EQ(sum, std::vector<int64_t>(30'000, 3 * 3 * 3 * 3 * 3));
      EXPECT_EQ(railcclStreamDestroy(stream), ncclSuccess);
    });
  }
  for (std::thread& thread : threads) thread.join();
  destroy_all(first);
  destroy_all(second);
}

// What may be asked at any time, by anyone.
void ask_everything(ncclComm_t comm, const std::string& trace) {
  ncclResult_t state = ncclInProgress;
  EXPECT_EQ(ncclCommGetAsyncError(comm, &state), ncclSuccess);
  EXPECT_EQ(state, ncclSuccess);
  railcclRailStats_t stats[4];
  int rails = 0;
  EXPECT_EQ(railcclCommRailStats(comm, stats, 4, &rails), ncclSuccess) << last_error();
  size_t length = 0;
  EXPECT_EQ(railcclExplain(comm, nullptr, railcclText, nullptr, 0, &length), ncclSuccess)
      << last_error();
  EXPECT_EQ(railcclCommDumpTrace(comm, trace.c_str()), ncclSuccess) << last_error();
  void* memory = nullptr;
  ASSERT_EQ(ncclMemAlloc(&memory, 10'000), ncclSuccess);
  void* registration = nullptr;
  EXPECT_EQ(ncclCommRegister(comm, memory, 10'000, &registration), ncclSuccess) << last_error();
  EXPECT_EQ(ncclCommDeregister(comm, registration), ncclSuccess) << last_error();
  EXPECT_EQ(ncclMemFree(memory), ncclSuccess);
  float factor = 2;
  ncclRedOp_t op;
  EXPECT_EQ(ncclRedOpCreatePreMulSum(&op, &factor, ncclFloat, ncclScalarHostImmediate, comm),
            ncclSuccess);
  EXPECT_EQ(ncclRedOpDestroy(op, comm), ncclSuccess);
  EXPECT_NE(ncclSend(nullptr, 1, ncclFloat, 77, comm, nullptr), ncclSuccess);
  EXPECT_THAT(last_error(), HasSubstr("77"));
}

TEST(Threads, QuestionsAreAnsweredWhileCollectivesRun) {
  const std::string trace = testing::TempDir() + "railccl-threads-" + std::to_string(getpid());
  run_ranks(2, [&trace](RankOf& self) {
    std::atomic<bool> stop{false};
    std::thread asking([&] {
      const std::string file = trace + "-" + std::to_string(self.rank);
      do ask_everything(self.comm, file);
      while (!stop.load());
      std::filesystem::remove(file);
    });
    for (int round = 0; round < 10; ++round) {
      for (const size_t count : kCounts) {
        Sum(count, self.rank + 1).expect(self.comm, 3);
      }
    }
    stop.store(true);
    asking.join();
  });
}

// A watchdog's way out of a call that a peer never answers.
TEST(ThreadsEnd, AnAbortFromAnotherThreadEndsTheBlockedCall) {
  for (const size_t count : kCounts) {
    const std::vector<ncclComm_t> comms = start_ranks(2);
    Blocked blocked;
    std::thread caller([&] {
      Sum sum(count, 1);
      blocked.about_to_call();
      EXPECT_EQ(sum.run(comms[0]), ncclRemoteError);
      EXPECT_THAT(last_error(), HasSubstr("called ncclCommAbort"));
    });
    blocked.await();
    EXPECT_EQ(ncclCommAbort(comms[0]), ncclSuccess);
    caller.join();
    EXPECT_EQ(ncclCommAbort(comms[1]), ncclSuccess);
  }
}

TEST(ThreadsEnd, AnAbortFromAnotherThreadEndsBlockedTransfersAndStreams) {
  const std::vector<ncclComm_t> comms = start_ranks(2);
  Blocked receiving;
  std::thread receiver([&] {
    std::vector<int> data(100'000);
    receiving.about_to_call();
    EXPECT_EQ(ncclRecv(data.data(), data.size(), ncclInt, 1, comms[0], nullptr), ncclRemoteError);
  });
  Blocked synchronizing;
  std::thread streaming([&] {
    std::vector<int> data(100'000);
    railcclStream_t stream = nullptr;
    ASSERT_EQ(railcclStreamCreate(&stream), ncclSuccess);
    ASSERT_EQ(
        ncclAllReduce(data.data(), data.data(), data.size(), ncclInt, ncclSum, comms[0], stream),
        ncclSuccess);
    synchronizing.about_to_call();
    EXPECT_EQ(railcclStreamSynchronize(stream), ncclRemoteError);
    EXPECT_EQ(railcclStreamDestroy(stream), ncclRemoteError);
  });
  receiving.await();
  synchronizing.await();
  EXPECT_EQ(ncclCommAbort(comms[0]), ncclSuccess);
  receiver.join();
  streaming.join();
  EXPECT_EQ(ncclCommAbort(comms[1]), ncclSuccess);
}

TEST(ThreadsEnd, ARevocationFromAnotherThreadEndsTheBlockedCallsOfAllRanks) {
  const std::vector<ncclComm_t> comms = start_ranks(3);
  Blocked blocked[2];
  std::vector<std::thread> callers;
  for (size_t rank = 0; rank < 2; ++rank) {
    callers.emplace_back([&, rank] {
      Sum sum(50'000, 1);
      blocked[rank].about_to_call();
      EXPECT_EQ(sum.run(comms[rank]), ncclRemoteError);
      EXPECT_THAT(last_error(), HasSubstr("rank 1 called ncclCommRevoke"));
    });
  }
  for (const Blocked& one : blocked) one.await();
  EXPECT_EQ(ncclCommRevoke(comms[1], NCCL_REVOKE_DEFAULT), ncclSuccess);
  for (std::thread& caller : callers) caller.join();
  for (ncclComm_t comm : comms) EXPECT_EQ(ncclCommAbort(comm), ncclSuccess);
}

// On nodes of their own a rank that takes leave waits for its peer's goodbye.
TEST(ThreadsEnd, AnAbortFromAnotherThreadEndsAFinalization) {
  const std::vector<ncclComm_t> comms = start_ranks(2);
  std::vector<std::thread> ranks;
  for (size_t rank = 0; rank < 2; ++rank) {
    ranks.emplace_back([&, rank] { Sum(50'000, 1).expect(comms[rank], 2); });
  }
  for (std::thread& rank : ranks) rank.join();
  Blocked blocked;
  std::thread finalizing([&] {
    blocked.about_to_call();
    const ncclResult_t result = ncclCommFinalize(comms[0]);
    EXPECT_TRUE(result == ncclSuccess || result == ncclRemoteError) << last_error();
    blocked.returned();
  });
  blocked.await();
  EXPECT_EQ(ncclCommAbort(comms[0]), ncclSuccess);
  finalizing.join();
  EXPECT_EQ(ncclCommAbort(comms[1]), ncclSuccess);
}

// What is under way waits for a rank that does not come.
TEST(ThreadsEnd, ARevocationFromAnotherThreadEndsAFinalization) {
  const std::vector<ncclComm_t> comms = start_ranks(2);
  railcclStream_t stream = nullptr;
  ASSERT_EQ(railcclStreamCreate(&stream), ncclSuccess);
  double value = 1;
  ASSERT_EQ(ncclAllReduce(&value, &value, 1, ncclDouble, ncclSum, comms[0], stream), ncclSuccess);
  Blocked blocked;
  std::thread finalizing([&] {
    blocked.about_to_call();
    EXPECT_NE(ncclCommFinalize(comms[0]), ncclSuccess);
    EXPECT_THAT(last_error(), HasSubstr("rank 0 called ncclCommRevoke"));
    blocked.returned();
  });
  blocked.await();
  EXPECT_EQ(ncclCommRevoke(comms[0], NCCL_REVOKE_DEFAULT), ncclSuccess) << last_error();
  finalizing.join();
  EXPECT_NE(railcclStreamDestroy(stream), ncclSuccess);
  EXPECT_EQ(ncclCommRevoke(comms[0], NCCL_REVOKE_DEFAULT), ncclInvalidUsage);
  EXPECT_THAT(last_error(), HasSubstr("was finalized"));
  for (ncclComm_t comm : comms) EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
}

TEST(ThreadsEnd, AStartThatWaitsForItsPeersIsAborted) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  ASSERT_EQ(ncclCommInitRankConfig(&comm, 2, id, 0, &config), ncclInProgress);
  ncclResult_t state = ncclSuccess;
  EXPECT_EQ(ncclCommGetAsyncError(comm, &state), ncclSuccess);
  EXPECT_EQ(state, ncclInProgress);
  std::thread other([comm] { EXPECT_EQ(ncclCommAbort(comm), ncclSuccess); });
  other.join();
}

}  // namespace
}  // namespace railccl::test
