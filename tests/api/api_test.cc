// The C API as a program sees it, ranks as threads: results, groups, streams, split, operators, and
// what wrong calls get.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "tests/api/api_world.h"

namespace railccl::test {
namespace {

using ::testing::HasSubstr;

std::string last_error() { return ncclGetLastError(nullptr); }

TEST(Api, AllReduceOfEverySizeClass) {
  for (const size_t count : {1, 1000, 100'000, 3'000'000}) {
    run_ranks(3, [count](RankOf& self) {
      std::vector<float> data(count);
      for (size_t i = 0; i < count; ++i) data[i] = static_cast<float>((i + self.rank) % 100);
      ASSERT_EQ(
          ncclAllReduce(data.data(), data.data(), count, ncclFloat, ncclSum, self.comm, nullptr),
          ncclSuccess)
          << last_error();
      for (size_t i = 0; i < count; ++i) {
        const auto expected = static_cast<float>(i % 100 + (i + 1) % 100 + (i + 2) % 100);
        ASSERT_EQ(data[i], expected) << "element " << i << " of " << count;
      }
    });
  }
}

TEST(Api, OneThreadServesAllRanksInAGroup) {
  std::vector<ncclComm_t> comms(4);
  ASSERT_EQ(ncclCommInitAll(comms.data(), 4, nullptr), ncclSuccess) << last_error();
  std::vector<std::vector<int>> data(4, std::vector<int>(5000));
  for (int rank = 0; rank < 4; ++rank) std::iota(data[rank].begin(), data[rank].end(), rank);
  ASSERT_EQ(ncclGroupStart(), ncclSuccess);
  for (int rank = 0; rank < 4; ++rank) {
    ASSERT_EQ(ncclAllReduce(data[rank].data(), data[rank].data(), 5000, ncclInt, ncclMax,
                            comms[rank], nullptr),
              ncclSuccess);
  }
  ASSERT_EQ(ncclGroupEnd(), ncclSuccess) << last_error();
  for (int rank = 0; rank < 4; ++rank) {
    for (int i = 0; i < 5000; ++i) ASSERT_EQ(data[rank][i], i + 3);
  }
  for (ncclComm_t comm : comms) {
    EXPECT_EQ(ncclCommFinalize(comm), ncclSuccess);
  }
  for (ncclComm_t comm : comms) EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
}

TEST(Api, SendAndReceiveAroundARingInAGroup) {
  for (const size_t count : {3, 30'000, 1'000'000}) {
    run_ranks(3, [count](RankOf& self) {
      const std::vector<int64_t> sent(count, self.rank);
      std::vector<int64_t> received(count, -1);
      ncclGroupStart();
      ncclSend(sent.data(), count, ncclInt64, (self.rank + 1) % 3, self.comm, nullptr);
      ncclRecv(received.data(), count, ncclInt64, (self.rank + 2) % 3, self.comm, nullptr);
      ASSERT_EQ(ncclGroupEnd(), ncclSuccess) << last_error();
      ASSERT_EQ(received, std::vector<int64_t>(count, (self.rank + 2) % 3));
    });
  }
}

// Found by fabric_check when a node was killed: the stream waited for ever.
TEST(Api, AStreamDoesNotWaitForAnOperationThatWasRefused) {
  run_ranks(2, [](RankOf& self) {
    railcclStream_t stream = nullptr;
    ASSERT_EQ(railcclStreamCreate(&stream), ncclSuccess);
    ASSERT_EQ(ncclCommRevoke(self.comm, NCCL_REVOKE_DEFAULT), ncclSuccess);
    double value = 1;
    EXPECT_NE(ncclAllReduce(&value, &value, 1, ncclDouble, ncclSum, self.comm, stream),
              ncclSuccess);
    EXPECT_NE(railcclStreamWait(stream, 60'000), ncclInProgress);
    EXPECT_NE(railcclStreamDestroy(stream), ncclSuccess);
  });
}

TEST(Api, StreamsKeepTheirOrderAndDoNotBlockTheCaller) {
  run_ranks(2, [](RankOf& self) {
    railcclStream_t stream = nullptr;
    ASSERT_EQ(railcclStreamCreate(&stream), ncclSuccess);
    std::vector<double> value(1000, 1.0);
    for (int round = 0; round < 10; ++round) {
      ASSERT_EQ(ncclAllReduce(value.data(), value.data(), value.size(), ncclDouble, ncclSum,
                              self.comm, stream),
                ncclSuccess);
    }
    ASSERT_EQ(railcclStreamSynchronize(stream), ncclSuccess) << last_error();
    EXPECT_EQ(railcclStreamQuery(stream), ncclSuccess);
    EXPECT_EQ(value, std::vector<double>(1000, 1024.0));
    EXPECT_EQ(railcclStreamDestroy(stream), ncclSuccess);
  });
}

TEST(Api, SplitByParityAndKey) {
  run_ranks(5, [](RankOf& self) {
    ncclComm_t half = nullptr;
    // Reversed by key; rank 4 joins none.
    const int color = self.rank == 4 ? NCCL_SPLIT_NOCOLOR : self.rank % 2;
    ASSERT_EQ(ncclCommSplit(self.comm, color, -self.rank, &half, nullptr), ncclSuccess)
        << last_error();
    if (self.rank == 4) {
      EXPECT_EQ(half, nullptr);
      return;
    }
    int rank = -1;
    int count = 0;
    ncclCommUserRank(half, &rank);
    ncclCommCount(half, &count);
    EXPECT_EQ(count, 2);
    EXPECT_EQ(rank, self.rank < 2 ? 1 : 0);
    int value = self.rank;
    EXPECT_EQ(ncclAllReduce(&value, &value, 1, ncclInt, ncclSum, half, nullptr), ncclSuccess);
    EXPECT_EQ(value, color == 0 ? 2 : 4);
    EXPECT_EQ(ncclCommDestroy(half), ncclSuccess);
  });
}

TEST(Api, ShrinkGoesOnWithoutTheExcluded) {
  run_ranks(3, [](RankOf& self) {
    if (self.rank == 1) return;
    int excluded[] = {1};
    ncclComm_t rest = nullptr;
    ASSERT_EQ(ncclCommShrink(self.comm, excluded, 1, &rest, nullptr, NCCL_SHRINK_DEFAULT),
              ncclSuccess)
        << last_error();
    int value = self.rank + 1;
    EXPECT_EQ(ncclAllReduce(&value, &value, 1, ncclInt, ncclSum, rest, nullptr), ncclSuccess);
    EXPECT_EQ(value, 4);
    EXPECT_EQ(ncclCommDestroy(rest), ncclSuccess);
  });
}

TEST(Api, PreMultipliedSumUsesEachRanksFactor) {
  run_ranks(2, [](RankOf& self) {
    float factor = self.rank == 0 ? 2.0f : 10.0f;
    ncclRedOp_t op;
    ASSERT_EQ(ncclRedOpCreatePreMulSum(&op, &factor, ncclFloat, ncclScalarHostImmediate, self.comm),
              ncclSuccess);
    std::vector<float> data(20'000, 1.5f);
    ASSERT_EQ(
        ncclAllReduce(data.data(), data.data(), data.size(), ncclFloat, op, self.comm, nullptr),
        ncclSuccess)
        << last_error();
    EXPECT_EQ(data, std::vector<float>(20'000, 18.0f));
    EXPECT_EQ(ncclRedOpDestroy(op, self.comm), ncclSuccess);
    EXPECT_EQ(ncclAllReduce(data.data(), data.data(), 1, ncclFloat, op, self.comm, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument op of ncclAllReduce"));
  });
}

TEST(Api, NonBlockingStart) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      ncclComm_t comm = nullptr;
      const ncclResult_t begun = ncclCommInitRankConfig(&comm, 2, id, rank, &config);
      ASSERT_TRUE(begun == ncclSuccess || begun == ncclInProgress);
      ncclResult_t state = ncclInProgress;
      while (state == ncclInProgress) {
        ASSERT_EQ(ncclCommGetAsyncError(comm, &state), ncclSuccess);
        std::this_thread::yield();
      }
      EXPECT_EQ(state, ncclSuccess);
      int value = 1;
      EXPECT_EQ(ncclAllReduce(&value, &value, 1, ncclInt, ncclSum, comm, nullptr), ncclSuccess);
      EXPECT_EQ(value, 2);
      ncclCommDestroy(comm);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ApiErrors, EveryWrongArgumentIsNamed) {
  run_ranks(1, [](RankOf& self) {
    float value = 1;
    EXPECT_EQ(ncclAllReduce(nullptr, &value, 1, ncclFloat, ncclSum, self.comm, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument sendbuff of ncclAllReduce is NULL"));
    EXPECT_EQ(ncclAllReduce(&value, nullptr, 1, ncclFloat, ncclSum, self.comm, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument recvbuff"));
    EXPECT_EQ(ncclAllReduce(&value, &value, 1, static_cast<ncclDataType_t>(99), ncclSum, self.comm,
                            nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument datatype of ncclAllReduce is 99"));
    EXPECT_EQ(ncclAllReduce(&value, &value, 1, ncclFloat, static_cast<ncclRedOp_t>(77), self.comm,
                            nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument op of ncclAllReduce is 77"));
    EXPECT_EQ(ncclBroadcast(&value, &value, 1, ncclFloat, 3, self.comm, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument root of ncclBroadcast is 3"));
    EXPECT_EQ(ncclSend(&value, 1, ncclFloat, -1, self.comm, nullptr), ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument peer of ncclSend is -1"));
    EXPECT_EQ(ncclAllReduce(&value, &value, 1, ncclFloat, ncclSum, nullptr, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument comm of ncclAllReduce is NULL"));
  });
  EXPECT_EQ(ncclGetVersion(nullptr), ncclInvalidArgument);
  EXPECT_EQ(ncclGetUniqueId(nullptr), ncclInvalidArgument);
  EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
  EXPECT_THAT(last_error(), HasSubstr("without ncclGroupStart"));
  ncclComm_t comm = nullptr;
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  EXPECT_EQ(ncclCommInitRank(&comm, 2, id, 2), ncclInvalidArgument);
  EXPECT_THAT(last_error(), HasSubstr("argument rank of ncclCommInitRank is 2"));
  ncclConfig_t config{};
  EXPECT_EQ(ncclCommInitRankConfig(&comm, 1, id, 0, &config), ncclInvalidArgument);
  EXPECT_THAT(last_error(), HasSubstr("NCCL_CONFIG_INITIALIZER"));
}

TEST(ApiErrors, RanksThatCallDifferentThingsAreNamedAndNobodyHangs) {
  for (const size_t count : {4, 100'000}) {
    run_ranks(3, [count](RankOf& self) {
      std::vector<float> data(count * 3);
      const ncclResult_t result =
          self.rank == 1
              ? ncclBroadcast(data.data(), data.data(), count, ncclFloat, 0, self.comm, nullptr)
              : ncclAllReduce(data.data(), data.data(), count, ncclFloat, ncclSum, self.comm,
                              nullptr);
      // A rank that needs nothing from the others may be through before they notice.
      if (result != ncclSuccess) {
        EXPECT_THAT(last_error(), HasSubstr("rank 1 called Broadcast"));
        EXPECT_THAT(last_error(), HasSubstr("called AllReduce"));
      }
      if (self.rank != 1) {
        EXPECT_NE(result, ncclSuccess) << "rank " << self.rank << ", count " << count;
      }
      ncclCommAbort(self.comm);
      self.comm = nullptr;
    });
  }
}

TEST(ApiErrors, AbortOnOneRankEndsTheOthersWithItsName) {
  run_ranks(3, [](RankOf& self) {
    if (self.rank == 2) {
      EXPECT_EQ(ncclCommAbort(self.comm), ncclSuccess);
      self.comm = nullptr;
      return;
    }
    std::vector<float> data(1'000'000);
    const ncclResult_t result = ncclAllReduce(data.data(), data.data(), data.size(), ncclFloat,
                                              ncclSum, self.comm, nullptr);
    EXPECT_EQ(result, ncclRemoteError);
    EXPECT_THAT(last_error(), HasSubstr("rank 2"));
    ncclCommAbort(self.comm);
    self.comm = nullptr;
  });
}

}  // namespace
}  // namespace railccl::test
