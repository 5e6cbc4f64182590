// Calls on memory of a GPU, with a stand-in for the driver: every result against values computed
// here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <string>
#include <vector>

#include "tests/api/api_world.h"
#include "tests/cuda/device_world.h"

namespace railccl::test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

using Array = DeviceArray<int32_t>;

// Element i of rank r's input.
int32_t value_of(int rank, size_t i) { return rank * 1000003 + static_cast<int32_t>(i % 65521); }

void fill(const Array& array, int rank) {
  const auto view = array.view();
  for (size_t i = 0; i < view.size(); ++i) view[i] = value_of(rank, i);
}

// Of more than one slot of pinned memory (4 MiB), and not a multiple of anything.
constexpr size_t kLarge = 5'000'003;

class DeviceCollective : public ::testing::TestWithParam<std::tuple<int, size_t>> {
 protected:
  static int ranks() { return std::get<0>(GetParam()); }
  static size_t count() { return std::get<1>(GetParam()); }
};

TEST_P(DeviceCollective, AllReduce) {
  run_ranks(ranks(), [](RankOf& self) {
    const Array in(count());
    const Array out(count());
    const FakeStreamHandle stream;
    fill(in, self.rank);
    ASSERT_EQ(
        ncclAllReduce(in.data(), out.data(), count(), ncclInt32, ncclSum, self.comm, stream.get()),
        ncclSuccess);
    // In place, behind it in the same stream.
    ASSERT_EQ(
        ncclAllReduce(in.data(), in.data(), count(), ncclInt32, ncclMax, self.comm, stream.get()),
        ncclSuccess);
    stream.synchronize();
    size_t wrong = 0;
    for (size_t i = 0; i < count(); ++i) {
      int32_t sum = 0;
      for (int r = 0; r < ranks(); ++r) sum += value_of(r, i);
      if (out.view()[i] != sum || in.view()[i] != value_of(ranks() - 1, i)) ++wrong;
    }
    EXPECT_EQ(wrong, 0U);
  });
}

TEST_P(DeviceCollective, AllGatherAndReduceScatter) {
  run_ranks(ranks(), [](RankOf& self) {
    const size_t n = static_cast<size_t>(ranks());
    const Array part(count());
    const Array all(count() * n);
    const FakeStreamHandle stream;
    fill(part, self.rank);
    ASSERT_EQ(ncclAllGather(part.data(), all.data(), count(), ncclInt32, self.comm, stream.get()),
              ncclSuccess);
    stream.synchronize();
    size_t wrong = 0;
    for (size_t r = 0; r < n; ++r) {
      for (size_t i = 0; i < count(); ++i) {
        if (all.view()[r * count() + i] != value_of(static_cast<int>(r), i)) ++wrong;
      }
    }
    EXPECT_EQ(wrong, 0U) << "AllGather";
    ASSERT_EQ(ncclReduceScatter(all.data(), all.data() + static_cast<size_t>(self.rank) * count(),
                                count(), ncclInt32, ncclSum, self.comm, stream.get()),
              ncclSuccess);
    stream.synchronize();
    wrong = 0;
    for (size_t i = 0; i < count(); ++i) {
      const int32_t own = all.view()[static_cast<size_t>(self.rank) * count() + i];
      if (own != value_of(self.rank, i) * ranks()) ++wrong;
    }
    EXPECT_EQ(wrong, 0U) << "ReduceScatter";
  });
}

TEST_P(DeviceCollective, BroadcastAndReduce) {
  run_ranks(ranks(), [](RankOf& self) {
    const int root = ranks() - 1;
    const Array in(count());
    const Array out(count());
    const FakeStreamHandle stream;
    fill(in, self.rank);
    ASSERT_EQ(
        ncclBroadcast(in.data(), out.data(), count(), ncclInt32, root, self.comm, stream.get()),
        ncclSuccess);
    stream.synchronize();
    size_t wrong = 0;
    for (size_t i = 0; i < count(); ++i) wrong += out.view()[i] != value_of(root, i);
    EXPECT_EQ(wrong, 0U) << "Broadcast";
    ASSERT_EQ(ncclReduce(in.data(), self.rank == 0 ? out.data() : nullptr, count(), ncclInt32,
                         ncclMin, 0, self.comm, stream.get()),
              ncclSuccess);
    stream.synchronize();
    wrong = 0;
    const int winner = self.rank == 0 ? 0 : root;
    for (size_t i = 0; i < count(); ++i) wrong += out.view()[i] != value_of(winner, i);
    EXPECT_EQ(wrong, 0U) << "Reduce";
  });
}

TEST_P(DeviceCollective, AllToAllGatherScatter) {
  run_ranks(ranks(), [](RankOf& self) {
    const size_t n = static_cast<size_t>(ranks());
    const Array in(count() * n);
    const Array out(count() * n);
    const FakeStreamHandle stream;
    fill(in, self.rank);
    const auto wrong_blocks = [&](auto expected) {
      size_t wrong = 0;
      for (size_t r = 0; r < n; ++r) {
        for (size_t i = 0; i < count(); ++i) {
          if (out.view()[r * count() + i] != expected(static_cast<int>(r), i)) ++wrong;
        }
      }
      return wrong;
    };
    const size_t own = static_cast<size_t>(self.rank) * count();
    ASSERT_EQ(ncclAlltoAll(in.data(), out.data(), count(), ncclInt32, self.comm, stream.get()),
              ncclSuccess);
    stream.synchronize();
    EXPECT_EQ(wrong_blocks([own](int r, size_t i) { return value_of(r, own + i); }), 0U)
        << "AlltoAll";
    ASSERT_EQ(ncclGather(in.data(), out.data(), count(), ncclInt32, 0, self.comm, stream.get()),
              ncclSuccess);
    stream.synchronize();
    if (self.rank == 0) {
      EXPECT_EQ(wrong_blocks([](int r, size_t i) { return value_of(r, i); }), 0U) << "Gather";
    }
    ASSERT_EQ(ncclScatter(in.data(), out.data(), count(), ncclInt32, 0, self.comm, stream.get()),
              ncclSuccess);
    stream.synchronize();
    size_t wrong = 0;
    for (size_t i = 0; i < count(); ++i) wrong += out.view()[i] != value_of(0, own + i);
    EXPECT_EQ(wrong, 0U) << "Scatter";
  });
}

INSTANTIATE_TEST_SUITE_P(RanksAndCounts, DeviceCollective,
                         ::testing::Combine(::testing::Values(1, 2, 3),
                                            ::testing::Values(size_t{1}, size_t{1001}, kLarge)));

TEST(DeviceCalls, WaitForTheirStream) {
  run_ranks(2, [](RankOf& self) {
    const Array memory(8);
    const FakeStreamHandle stream;
    stream.hold(true);
    ASSERT_EQ(
        ncclAllReduce(memory.data(), memory.data(), 8, ncclInt32, ncclSum, self.comm, stream.get()),
        ncclSuccess);
    fill(memory, self.rank);  // as work before it in the stream would
    stream.hold(false);
    stream.synchronize();
    EXPECT_EQ(memory.view()[7], value_of(0, 7) + value_of(1, 7));
  });
}

TEST(DeviceCalls, MixWithCallsOfTheHost) {
  run_ranks(2, [](RankOf& self) {
    const Array memory(8);
    const FakeStreamHandle stream;
    for (int i = 0; i < 20; ++i) {
      fill(memory, self.rank);
      int32_t host = self.rank;
      ASSERT_EQ(ncclAllReduce(memory.data(), memory.data(), 8, ncclInt32, ncclSum, self.comm,
                              stream.get()),
                ncclSuccess);
      stream.synchronize();
      ASSERT_EQ(ncclAllReduce(&host, &host, 1, ncclInt32, ncclSum, self.comm, nullptr),
                ncclSuccess);
      ASSERT_EQ(host, 1);
      ASSERT_EQ(memory.view()[3], value_of(0, 3) + value_of(1, 3));
    }
  });
}

// Of each rank to each, itself too, of more than all slots hold together.
TEST(DeviceCalls, SendsAndReceivesInAGroup) {
  constexpr int kRanks = 3;
  run_ranks(kRanks, [](RankOf& self) {
    const Array out(kLarge * kRanks);
    const Array in(kLarge * kRanks);
    const FakeStreamHandle streams[2];
    fill(out, self.rank);
    ASSERT_EQ(ncclGroupStart(), ncclSuccess);
    for (int peer = 0; peer < kRanks; ++peer) {
      const size_t at = static_cast<size_t>(peer) * kLarge;
      cudaStream_t stream = streams[peer % 2].get();
      ASSERT_EQ(ncclRecv(in.data() + at, kLarge, ncclInt32, peer, self.comm, stream), ncclSuccess);
      ASSERT_EQ(ncclSend(out.data() + at, kLarge, ncclInt32, peer, self.comm, stream), ncclSuccess);
    }
    ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
    for (const FakeStreamHandle& stream : streams) stream.synchronize();
    const size_t own = static_cast<size_t>(self.rank) * kLarge;
    size_t wrong = 0;
    for (int peer = 0; peer < kRanks; ++peer) {
      for (size_t i = 0; i < kLarge; ++i) {
        const size_t at = static_cast<size_t>(peer) * kLarge + i;
        if (in.view()[at] != value_of(peer, own + i)) ++wrong;
      }
    }
    EXPECT_EQ(wrong, 0U);
  });
}

TEST(DeviceCalls, OfOneThreadForSeveralRanks) {
  constexpr int kRanks = 4;
  ncclComm_t comms[kRanks];
  ASSERT_EQ(ncclCommInitAll(comms, kRanks, nullptr), ncclSuccess);
  std::vector<std::unique_ptr<Array>> memory;
  const FakeStreamHandle streams[kRanks];
  ASSERT_EQ(ncclGroupStart(), ncclSuccess);
  for (int rank = 0; rank < kRanks; ++rank) {
    memory.push_back(std::make_unique<Array>(100));
    fill(*memory.back(), rank);
    ASSERT_EQ(ncclAllReduce(memory.back()->data(), memory.back()->data(), 100, ncclInt32, ncclSum,
                            comms[rank], streams[rank].get()),
              ncclSuccess);
  }
  ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
  for (int rank = 0; rank < kRanks; ++rank) {
    streams[rank].synchronize();
    int32_t sum = 0;
    for (int r = 0; r < kRanks; ++r) sum += value_of(r, 99);
    EXPECT_EQ(memory[static_cast<size_t>(rank)]->view()[99], sum);
  }
  for (ncclComm_t comm : comms) EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
}

TEST(DeviceCalls, ReadTheScalarWhenTheStreamIsThere) {
  run_ranks(2, [](RankOf& self) {
    const DeviceArray<float> memory(3);
    const DeviceArray<float> scalar(1);
    const FakeStreamHandle stream;
    std::ranges::fill(memory.view(), 2.0F);
    ncclRedOp_t op = ncclSum;
    ASSERT_EQ(ncclRedOpCreatePreMulSum(&op, scalar.data(), ncclFloat, ncclScalarDevice, self.comm),
              ncclSuccess);
    stream.hold(true);
    ASSERT_EQ(
        ncclAllReduce(memory.data(), memory.data(), 3, ncclFloat, op, self.comm, stream.get()),
        ncclSuccess);
    ASSERT_EQ(ncclRedOpDestroy(op, self.comm), ncclSuccess);
    scalar.view()[0] = self.rank == 0 ? 10.0F : 0.5F;
    stream.hold(false);
    stream.synchronize();
    EXPECT_THAT(memory.view(), Each(21.0F));
  });
}

TEST(DeviceCalls, AreCapturedAndReplayed) {
  run_ranks(2, [](RankOf& self) {
    const Array in(1001);
    const Array out(1001);
    const Array from_1(1001);
    const FakeStreamHandle stream;
    stream.begin_capture();
    ASSERT_EQ(
        ncclAllReduce(in.data(), out.data(), 1001, ncclInt32, ncclSum, self.comm, stream.get()),
        ncclSuccess);
    ASSERT_EQ(ncclBroadcast(in.data(), from_1.data(), 1001, ncclInt32, 1, self.comm, stream.get()),
              ncclSuccess);
    void* const graph = stream.end_capture();
    for (int run = 0; run < 30; ++run) {
      fill(in, self.rank + run);
      stream.replay(graph);
      stream.synchronize();
      ASSERT_EQ(out.view()[1000], value_of(run, 1000) + value_of(run + 1, 1000)) << run;
      ASSERT_EQ(from_1.view()[1000], value_of(run + 1, 1000)) << run;
    }
    fake_driver_destroy_graph(graph);
  });
}

// Doubles, by the sum of two equal ranks, so that nothing may be left out or done twice.
TEST(DeviceCalls, OfGraphsAndOthersFollowEachOtherInTheStream) {
  run_ranks(2, [](RankOf& self) {
    const Array memory(1001);
    const FakeStreamHandle stream;
    const auto double_it = [&] {
      return ncclAllReduce(memory.data(), memory.data(), 1001, ncclInt32, ncclSum, self.comm,
                           stream.get());
    };
    stream.begin_capture();
    ASSERT_EQ(double_it(), ncclSuccess);
    void* const graph = stream.end_capture();
    std::ranges::fill(memory.view(), 1);
    for (int run = 0; run < 5; ++run) {
      stream.replay(graph);
      ASSERT_EQ(double_it(), ncclSuccess);
      ASSERT_EQ(double_it(), ncclSuccess);
      stream.replay(graph);
    }
    stream.synchronize();
    EXPECT_THAT(memory.view(), Each(1 << 20));
    fake_driver_destroy_graph(graph);
  });
}

TEST(DeviceCalls, OfAGroupAreAllCapturedOrNone) {
  run_ranks(1, [](RankOf& self) {
    const Array memory(8);
    const FakeStreamHandle plain;
    const FakeStreamHandle captured;
    captured.begin_capture();
    ASSERT_EQ(ncclGroupStart(), ncclSuccess);
    ncclSend(memory.data(), 4, ncclInt32, 0, self.comm, plain.get());
    ncclRecv(memory.data() + 4, 4, ncclInt32, 0, self.comm, captured.get());
    EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
    EXPECT_THAT(std::string(ncclGetLastError(self.comm)), HasSubstr("is being captured"));
    fake_driver_destroy_graph(captured.end_capture());
    plain.synchronize();
  });
}

TEST(DeviceCalls, ComeBeforeLaterCallsOfTheHost) {
  run_ranks(2, [](RankOf& self) {
    const Array memory(1);
    const FakeStreamHandle stream;
    memory.view()[0] = 100;
    for (int i = 0; i < 20; ++i) {
      int32_t host = 1;
      ASSERT_EQ(ncclAllReduce(memory.data(), memory.data(), 1, ncclInt32, ncclMax, self.comm,
                              stream.get()),
                ncclSuccess);
      ASSERT_EQ(ncclAllReduce(&host, &host, 1, ncclInt32, ncclMax, self.comm, nullptr),
                ncclSuccess);
      EXPECT_EQ(host, 1);
    }
    stream.synchronize();
    EXPECT_EQ(memory.view()[0], 100);
  });
}

TEST(DeviceCalls, OfNoElementsMayBeSentFromNowhere) {
  run_ranks(2, [](RankOf& self) {
    const FakeStreamHandle stream;
    ASSERT_EQ(ncclGroupStart(), ncclSuccess);
    EXPECT_EQ(ncclSend(nullptr, 0, ncclInt32, 1 - self.rank, self.comm, stream.get()), ncclSuccess);
    EXPECT_EQ(ncclRecv(nullptr, 0, ncclInt32, 1 - self.rank, self.comm, stream.get()), ncclSuccess);
    EXPECT_EQ(ncclGroupEnd(), ncclSuccess) << ncclGetLastError(nullptr);
    stream.synchronize();
  });
}

// More copies than the queue holds are under way when the communicator ends.
TEST(DeviceCalls, ThatAreManyEndWhenTheCommunicatorIsAborted) {
  run_ranks(1, [](RankOf& self) {
    const Array out(kLarge);
    const Array in(kLarge);
    const FakeStreamHandle stream;
    ASSERT_EQ(ncclGroupStart(), ncclSuccess);
    for (int i = 0; i < 60; ++i) {
      ncclSend(out.data(), kLarge, ncclInt32, 0, self.comm, stream.get());
      ncclRecv(in.data(), kLarge, ncclInt32, 0, self.comm, stream.get());
    }
    ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
    ncclCommAbort(self.comm);
    self.comm = nullptr;
    stream.synchronize();
  });
}

TEST(DeviceCalls, MayBeAveragesOfNarrowFloats) {
  run_ranks(3, [](RankOf& self) {
    const DeviceArray<uint16_t> memory(1001);
    const FakeStreamHandle stream;
    std::ranges::fill(memory.view(), uint16_t{0x7800});  // 32768, of which three overflow a sum
    ASSERT_EQ(ncclAllReduce(memory.data(), memory.data(), 1001, ncclFloat16, ncclAvg, self.comm,
                            stream.get()),
              ncclSuccess);
    stream.synchronize();
    EXPECT_THAT(memory.view(), Each(uint16_t{0x7800}));
  });
}

TEST(DeviceCalls, OfAGraphThatOutlivesItsCommunicatorEndWithoutAResult) {
  const Array memory(8);
  const FakeStreamHandle stream;
  void* graph = nullptr;
  run_ranks(1, [&](RankOf& self) {
    stream.begin_capture();
    ASSERT_EQ(
        ncclAllReduce(memory.data(), memory.data(), 8, ncclInt32, ncclSum, self.comm, stream.get()),
        ncclSuccess);
    graph = stream.end_capture();
  });
  memory.view()[3] = 77;
  stream.replay(graph);
  stream.synchronize();
  EXPECT_EQ(memory.view()[3], 77);
  fake_driver_destroy_graph(graph);
}

TEST(DeviceCalls, ThatDifferBetweenRanksNameBoth) {
  run_ranks(2, [](RankOf& self) {
    // Both of several parts; what differs is the last one.
    const size_t count = self.rank == 0 ? kLarge : kLarge - 1'000'000;
    const Array memory(kLarge);
    const FakeStreamHandle stream;
    ASSERT_EQ(ncclAllReduce(memory.data(), memory.data(), count, ncclInt32, ncclSum, self.comm,
                            stream.get()),
              ncclSuccess);
    stream.synchronize();  // goes on, though there is no result
    ncclResult_t state = ncclSuccess;
    ASSERT_EQ(ncclCommGetAsyncError(self.comm, &state), ncclSuccess);
    EXPECT_NE(state, ncclSuccess);
    EXPECT_THAT(std::string(ncclGetLastError(self.comm)), HasSubstr("AllReduce(count"));
    ncclCommAbort(self.comm);
    self.comm = nullptr;
  });
}

TEST(DeviceCalls, EndWhenTheCommunicatorIsAborted) {
  std::atomic<bool> called{false};
  run_ranks(2, [&](RankOf& self) {
    const Array memory(8);
    const FakeStreamHandle stream;
    if (self.rank == 0) {
      ASSERT_EQ(ncclAllReduce(memory.data(), memory.data(), 8, ncclInt32, ncclSum, self.comm,
                              stream.get()),
                ncclSuccess);
      called.store(true);
    } else {
      while (!called.load()) std::this_thread::yield();
    }
    ncclCommAbort(self.comm);
    self.comm = nullptr;
    stream.synchronize();
  });
}

TEST(DeviceCalls, ThatTheStreamHasNotReachedEndWhenTheCommunicatorIsAborted) {
  run_ranks(1, [](RankOf& self) {
    const Array memory(8);
    const FakeStreamHandle stream;
    stream.hold(true);
    ASSERT_EQ(
        ncclAllReduce(memory.data(), memory.data(), 8, ncclInt32, ncclSum, self.comm, stream.get()),
        ncclSuccess);
    ncclCommAbort(self.comm);
    self.comm = nullptr;
    stream.hold(false);
    stream.synchronize();
  });
}

}  // namespace
}  // namespace railccl::test
