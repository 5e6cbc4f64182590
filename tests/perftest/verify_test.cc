#include "perftest/common/verify.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "tests/perftest/fake_nccl.h"

namespace railccl::perftest {
namespace {

constexpr int kRanks = 3;
constexpr int kRoot = 1;
constexpr uint64_t kBytes = 1200;

const Collective* const kAll[] = {&all_reduce(), &all_gather(), &broadcast(),
                                  &reduce(),     &gather(),     &reduce_scatter(),
                                  &alltoall(),   &scatter(),    &sendrecv()};

// All ranks' buffers, and the operation under test on them.
class Ranks {
 public:
  Ranks(const Collective& collective, ncclDataType_t type, Operator op, bool in_place)
      : collective_(collective), in_place_(in_place) {
    const size_t element = type_info(type).bytes;
    layout_ = collective.layout({kBytes / element, element, kRanks});
    PatternKey key{.type = type, .seed = 5, .ranks = kRanks};
    if (collective.reduces) key.op = op;
    for (int rank = 0; rank < kRanks; ++rank) {
      send_.emplace_back(kBytes + kGuardBytes);
      recv_.emplace_back(kBytes + kGuardBytes);
      checks_.emplace_back(collective, layout_, Position{rank, kRanks, kRoot}, Pattern(key),
                           in_place);
    }
    for (int rank = 0; rank < kRanks; ++rank) check(rank).prepare(buffers(rank));
    type_ = type;
  }

  const CheckedOperation& check(int rank) const { return checks_[static_cast<size_t>(rank)]; }
  Buffers buffers(int rank) {
    return {send_[static_cast<size_t>(rank)].data(), recv_[static_cast<size_t>(rank)].data()};
  }
  uint64_t wrong(int rank) { return check(rank).count_wrong(buffers(rank)); }
  std::byte* output(int rank) {
    const Placement placement = place(layout_, rank, in_place_);
    return buffers(rank).recv + placement.recv_offset * type_info(type_).bytes;
  }
  size_t output_bytes() const { return layout_.recv_count * type_info(type_).bytes; }

  void run() {
    ncclUniqueId id;
    ncclGetUniqueId(&id);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < kRanks; ++rank) {
      threads.emplace_back([this, rank, id] { run_rank(rank, id); });
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  void run_rank(int rank, const ncclUniqueId& id) {
    ncclComm_t comm = nullptr;
    ncclCommInitRank(&comm, kRanks, id, rank);
    const Placement placement = place(layout_, rank, in_place_);
    const Buffers mine = buffers(rank);
    const std::byte* send = in_place_ ? mine.recv : mine.send;
    const size_t element = type_info(type_).bytes;
    EXPECT_EQ(collective_.run({.send = send + placement.send_offset * element,
                               .recv = mine.recv + placement.recv_offset * element,
                               .count = layout_.call_count,
                               .type = type_,
                               .op = ncclSum,
                               .position = {rank, kRanks, kRoot},
                               .comm = comm}),
              ncclSuccess);
    ncclCommDestroy(comm);
  }

  const Collective& collective_;
  Layout layout_;
  ncclDataType_t type_ = ncclFloat;
  bool in_place_;
  std::vector<std::vector<std::byte>> send_;
  std::vector<std::vector<std::byte>> recv_;
  std::vector<CheckedOperation> checks_;
};

std::string trace(const Collective& collective, ncclDataType_t type, bool in_place) {
  return std::string(collective.program) + " " + std::string(type_info(type).name) +
         (in_place ? " in place" : "");
}

TEST(Verify, FindsNothingWrongInRightResults) {
  for (const Collective* collective : kAll) {
    for (const TypeInfo& type : all_types()) {
      for (const bool in_place : {false, true}) {
        if (in_place && !collective->in_place_defined) continue;
        SCOPED_TRACE(trace(*collective, type.type, in_place));
        Ranks ranks(*collective, type.type, Operator::kSum, in_place);
        ranks.run();
        for (int rank = 0; rank < kRanks; ++rank) ASSERT_EQ(ranks.wrong(rank), 0u);
      }
    }
  }
}

TEST(Verify, FindsEverySingleFlippedBit) {
  constexpr uint64_t kSeed = 99;
  std::mt19937_64 random(kSeed);
  for (const Collective* collective : kAll) {
    for (const bool in_place : {false, true}) {
      if (in_place && !collective->in_place_defined) continue;
      SCOPED_TRACE(trace(*collective, ncclBfloat16, in_place) + ", seed " + std::to_string(kSeed));
      Ranks ranks(*collective, ncclBfloat16, Operator::kSum, in_place);
      ranks.run();
      for (int attempt = 0; attempt < 50; ++attempt) {
        const int rank = static_cast<int>(random() % kRanks);
        std::byte& byte = ranks.output(rank)[random() % ranks.output_bytes()];
        const std::byte flip{static_cast<uint8_t>(1u << random() % 8)};
        byte ^= flip;
        ASSERT_EQ(ranks.wrong(rank), 1u);
        byte ^= flip;
      }
    }
  }
}

TEST(Verify, CountsElementsThatNeverCame) {
  // Nothing ran: the outputs still hold what prepare() left there.
  Ranks ranks(all_gather(), ncclInt32, Operator::kSum, false);
  for (int rank = 0; rank < kRanks; ++rank) EXPECT_EQ(ranks.wrong(rank), 300u);
  // In place a rank's own block is there already.
  Ranks in_place(all_gather(), ncclInt32, Operator::kSum, true);
  EXPECT_EQ(in_place.wrong(0), 200u);
}

TEST(Verify, CountsElementsAndNotBytes) {
  Ranks ranks(all_reduce(), ncclInt64, Operator::kSum, false);
  ranks.run();
  std::memset(ranks.output(2) + 16, 0, 24);
  EXPECT_EQ(ranks.wrong(2), 3u);
}

TEST(Verify, SeesWritesWhereNothingMayBeWritten) {
  Ranks reduced(reduce(), ncclFloat, Operator::kSum, false);
  reduced.run();
  reduced.output(0)[5] = std::byte{1};  // rank 0 is not root
  EXPECT_EQ(reduced.wrong(0), 1u);

  Ranks guarded(broadcast(), ncclFloat, Operator::kSum, false);
  guarded.run();
  guarded.output(1)[guarded.output_bytes() + kGuardBytes - 1] ^= std::byte{1};
  EXPECT_EQ(guarded.wrong(1), 1u);
}

TEST(Verify, NoElements) {
  const Layout empty = all_gather().layout({2, 4, kRanks});
  EXPECT_EQ(empty.recv_count, 0u);
  std::vector<std::byte> memory(kGuardBytes);
  const CheckedOperation check(all_gather(), empty, {0, kRanks, 0},
                               Pattern({.type = ncclFloat, .ranks = kRanks}), false);
  check.prepare({memory.data(), memory.data()});
  EXPECT_EQ(check.count_wrong({memory.data(), memory.data()}), 0u);
}

}  // namespace
}  // namespace railccl::perftest
