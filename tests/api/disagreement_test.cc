// Ranks whose calls differ in one thing: every rank gets an error that shows both calls and who
// made them, also inside groups and with several communicators, and what is right elsewhere stays
// right. Run twice: all ranks on one node, and each on a node of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/api/api_world.h"

namespace railccl::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kRanks = 3;
constexpr int kOdd = 1;  // the rank that differs
constexpr size_t kSmall = 6;
constexpr size_t kLarge = 120'000;

struct Buffers {
  explicit Buffers(size_t count) : in(2 * kRanks * count, 1.0F), out(2 * kRanks * count) {}
  std::vector<float> in;
  std::vector<float> out;
};

using CallOne = std::function<ncclResult_t(ncclComm_t, Buffers&, size_t)>;

struct Disagreement {
  std::string name;
  CallOne most;
  CallOne odd;
  std::string most_text;  // as the error shows it, with "N" for the count
  std::string odd_text;
};

ncclResult_t all_reduce(ncclComm_t comm, Buffers& buffers, size_t count,
                        ncclDataType_t type = ncclFloat, ncclRedOp_t op = ncclSum) {
  return ncclAllReduce(buffers.in.data(), buffers.out.data(), count, type, op, comm, nullptr);
}

CallOne broadcast(int root) {
  return [root](ncclComm_t comm, Buffers& buffers, size_t count) {
    return ncclBroadcast(buffers.in.data(), buffers.out.data(), count, ncclFloat, root, comm,
                         nullptr);
  };
}

const CallOne kSum = [](ncclComm_t comm, Buffers& buffers, size_t count) {
  return all_reduce(comm, buffers, count);
};

std::vector<Disagreement> disagreements() {
  const std::string sum = "AllReduce(count N, float, sum)";
  return {
      {"count", kSum,
       [](ncclComm_t comm, Buffers& buffers, size_t count) {
         return all_reduce(comm, buffers, count - 1);
       },
       sum, "AllReduce(count M, float, sum)"},
      {"type", kSum,
       [](ncclComm_t comm, Buffers& buffers, size_t count) {
         return all_reduce(comm, buffers, count, ncclInt32);
       },
       sum, "AllReduce(count N, int32, sum)"},
      {"operator", kSum,
       [](ncclComm_t comm, Buffers& buffers, size_t count) {
         return all_reduce(comm, buffers, count, ncclFloat, ncclMax);
       },
       sum, "AllReduce(count N, float, max)"},
      {"collective", kSum,
       [](ncclComm_t comm, Buffers& buffers, size_t count) {
         return ncclAllGather(buffers.in.data(), buffers.out.data(), count, ncclFloat, comm,
                              nullptr);
       },
       sum, "AllGather(count N, float)"},
      {"root", broadcast(0), broadcast(2), "Broadcast(count N, float, root 0)",
       "Broadcast(count N, float, root 2)"},
  };
}

std::string with_count(std::string text, size_t count) {
  for (const auto& [letter, value] : {std::pair{'N', count}, std::pair{'M', count - 1}}) {
    const size_t at = text.find(std::string("count ") + letter);
    if (at != std::string::npos) text.replace(at + 6, 1, std::to_string(value));
  }
  return text;
}

// Ranks that need nothing from the others are through before anybody notices; the next call that
// all make tells them.
std::string error_of(ncclResult_t result, ncclComm_t comm, Buffers& buffers) {
  for (int later = 0; result == ncclSuccess && later < 3; ++later) {
    result = all_reduce(comm, buffers, 3);
  }
  return result == ncclSuccess ? "no error" : ncclGetLastError(nullptr);
}

// "rank 1 called <odd>" against "rank 0 or 2 called <most>", in either order.
auto shows_both(const Disagreement& one, size_t count) {
  return AllOf(HasSubstr("rank 1 called " + with_count(one.odd_text, count)),
               HasSubstr(" called " + with_count(one.most_text, count)),
               HasSubstr("differs between ranks"));
}

void abort_comm(ncclComm_t& comm) {
  EXPECT_EQ(ncclCommAbort(comm), ncclSuccess);
  comm = nullptr;
}

class Disagreements : public ::testing::TestWithParam<size_t> {};

TEST_P(Disagreements, PlainCalls) {
  const size_t count = GetParam();
  for (const Disagreement& one : disagreements()) {
    SCOPED_TRACE(one.name);
    run_ranks(kRanks, [&](RankOf& self) {
      Buffers buffers(count);
      const ncclResult_t result =
          (self.rank == kOdd ? one.odd : one.most)(self.comm, buffers, count);
      EXPECT_THAT(error_of(result, self.comm, buffers), shows_both(one, count))
          << one.name << ", rank " << self.rank;
      abort_comm(self.comm);
    });
  }
}

TEST_P(Disagreements, InsideAGroup) {
  const size_t count = GetParam();
  for (const Disagreement& one : disagreements()) {
    run_ranks(kRanks, [&](RankOf& self) {
      Buffers before(count);
      Buffers buffers(count);
      ASSERT_EQ(ncclGroupStart(), ncclSuccess);
      ASSERT_EQ(all_reduce(self.comm, before, count), ncclSuccess);
      ASSERT_EQ((self.rank == kOdd ? one.odd : one.most)(self.comm, buffers, count), ncclSuccess);
      const ncclResult_t result = ncclGroupEnd();
      EXPECT_THAT(error_of(result, self.comm, buffers), shows_both(one, count))
          << one.name << ", rank " << self.rank;
      abort_comm(self.comm);
    });
  }
}

TEST_P(Disagreements, OnOneOfTwoCommunicatorsLeaveTheOtherAlone) {
  const size_t count = GetParam();
  for (const Disagreement& one : disagreements()) {
    run_ranks(kRanks, [&](RankOf& self) {
      ncclComm_t other = nullptr;
      ASSERT_EQ(ncclCommSplit(self.comm, 0, self.rank, &other, nullptr), ncclSuccess);
      Buffers right(count);
      Buffers buffers(count);
      ASSERT_EQ(ncclGroupStart(), ncclSuccess);
      ASSERT_EQ((self.rank == kOdd ? one.odd : one.most)(other, buffers, count), ncclSuccess);
      ASSERT_EQ(all_reduce(self.comm, right, count), ncclSuccess);
      const ncclResult_t result = ncclGroupEnd();
      EXPECT_EQ(right.out[0], kRanks) << one.name << ", rank " << self.rank;
      EXPECT_EQ(right.out[count - 1], kRanks) << one.name << ", rank " << self.rank;
      EXPECT_THAT(error_of(result, other, buffers), shows_both(one, count))
          << one.name << ", rank " << self.rank;
      abort_comm(other);
      EXPECT_EQ(all_reduce(self.comm, right, count), ncclSuccess);
    });
  }
}

TEST_P(Disagreements, InTheOrderOfCalls) {
  const size_t count = GetParam();
  run_ranks(kRanks, [&](RankOf& self) {
    Buffers buffers(count);
    const auto gather = [&] {
      return ncclAllGather(buffers.in.data(), buffers.out.data(), count, ncclFloat, self.comm,
                           nullptr);
    };
    const auto reduce = [&] { return all_reduce(self.comm, buffers, count); };
    ncclResult_t result = self.rank == kOdd ? gather() : reduce();
    if (result == ncclSuccess) result = self.rank == kOdd ? reduce() : gather();
    EXPECT_THAT(error_of(result, self.comm, buffers),
                AllOf(HasSubstr("rank 1 called AllGather"), HasSubstr("called AllReduce")));
    abort_comm(self.comm);
  });
}

TEST_P(Disagreements, ACallThatOneRankLeavesOut) {
  const size_t count = GetParam();
  run_ranks(kRanks, [&](RankOf& self) {
    Buffers buffers(count);
    ncclResult_t result = ncclSuccess;
    if (self.rank != kOdd) result = all_reduce(self.comm, buffers, count);
    if (result == ncclSuccess) result = broadcast(0)(self.comm, buffers, count);
    EXPECT_THAT(error_of(result, self.comm, buffers),
                AllOf(HasSubstr("rank 1 called Broadcast"), HasSubstr("called AllReduce")));
    abort_comm(self.comm);
  });
}

TEST_P(Disagreements, SendsAndReceivesOfDifferentSizes) {
  const size_t count = GetParam();
  run_ranks(kRanks, [&](RankOf& self) {
    Buffers buffers(count);
    ncclResult_t result = ncclSuccess;
    if (self.rank == 0) {
      result = ncclSend(buffers.in.data(), count, ncclFloat, kOdd, self.comm, nullptr);
    } else if (self.rank == kOdd) {
      result = ncclRecv(buffers.out.data(), count - 1, ncclFloat, 0, self.comm, nullptr);
    }
    const std::string larger = std::to_string(count);
    const std::string smaller = std::to_string(count - 1);
    EXPECT_THAT(
        error_of(result, self.comm, buffers),
        AllOf(HasSubstr("rank 0"), HasSubstr("rank 1"), HasSubstr("(count " + larger + ", float)"),
              HasSubstr("(count " + smaller + ", float)")));
    abort_comm(self.comm);
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Disagreements, ::testing::Values(kSmall, kLarge),
                         [](const auto& which) {
                           return which.param == kSmall ? "Small" : "Large";
                         });

}  // namespace
}  // namespace railccl::test
