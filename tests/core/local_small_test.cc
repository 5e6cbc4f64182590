// Small collectives against the scalar oracle: random sequences over all types, operators, roots
// and ways to wait, as threads and as processes; ranks that disagree; a root that runs ahead.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/core/local_harness.h"
#include "tests/core/local_oracle.h"

namespace railccl {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;
using Small = LocalDomain::Small;
using Progress = LocalDomain::Progress;

constexpr Collective kSmallCollectives[] = {Collective::kAllReduce,     Collective::kAllGather,
                                            Collective::kBroadcast,     Collective::kReduce,
                                            Collective::kReduceScatter, Collective::kAllToAll,
                                            Collective::kGather,        Collective::kScatter};

struct RandomCall {
  Collective collective;
  DataType type;
  ReduceOp op;
  uint32_t divide_by;
  int root;
  size_t count;
  bool in_place;
};

RandomCall random_call(std::mt19937_64& random, int ranks) {
  RandomCall call{};
  call.collective = kSmallCollectives[random() % std::size(kSmallCollectives)];
  call.type = static_cast<DataType>(random() % kDataTypes);
  call.op =
      is_reduction(call.collective) ? static_cast<ReduceOp>(random() % kReduceOps) : ReduceOp::kSum;
  call.divide_by = call.op == ReduceOp::kAvg ? static_cast<uint32_t>(ranks) : 1;
  call.root = static_cast<int>(random() % static_cast<uint64_t>(ranks));
  call.in_place = random() % 2 == 0;
  size_t most = LocalDomain::kMaxSmallBytes / element_bytes(call.type);
  if (!LocalDomain::small_suits(call.collective, most, call.type, ranks)) {
    most /= static_cast<size_t>(ranks);
  }
  const size_t limits[] = {2, 8, 64, most};
  call.count = random() % (limits[random() % 4] + 1);
  call.count = std::min(call.count, most);
  return call;
}

bool has_block_per_rank(Collective collective) {
  return collective == Collective::kReduceScatter || collective == Collective::kAllToAll ||
         collective == Collective::kScatter;
}

Bytes part(const Bytes& bytes, size_t index, size_t size) {
  const auto first = bytes.begin() + static_cast<ptrdiff_t>(index * size);
  return {first, first + static_cast<ptrdiff_t>(size)};
}

void append(Bytes& bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

// What `rank` must have at the end; empty: nothing.
Bytes expected(const RandomCall& call, const std::vector<Bytes>& inputs, int rank) {
  const size_t size = call.count * element_bytes(call.type);
  const auto self = static_cast<size_t>(rank);
  const auto root = static_cast<size_t>(call.root);
  Bytes result;
  switch (call.collective) {
    case Collective::kReduce:
      if (rank != call.root) return {};
      [[fallthrough]];
    case Collective::kAllReduce:
      return reduce_elements(inputs, 0, call.count, call.type, call.op, call.divide_by);
    case Collective::kReduceScatter:
      return reduce_elements(inputs, self * call.count, call.count, call.type, call.op,
                             call.divide_by);
    case Collective::kBroadcast:
      return inputs[root];
    case Collective::kScatter:
      return part(inputs[root], self, size);
    case Collective::kGather:
      if (rank != call.root) return {};
      [[fallthrough]];
    case Collective::kAllGather:
      for (const Bytes& input : inputs) append(result, input);
      return result;
    case Collective::kAllToAll:
      for (const Bytes& input : inputs) append(result, part(input, self, size));
      return result;
    case Collective::kSendRecv:
      break;
  }
  return result;
}

// The caller's buffers of one call: separate, or one inside the other as NCCL has it.
struct Buffers {
  Bytes input;
  Bytes output;
  size_t input_offset = 0;   // in output, if in place
  size_t output_offset = 0;  // in input, if in place
  bool in_place = false;

  Buffers(const RandomCall& call, const Bytes& given, size_t result_bytes, int rank)
      : input(given), in_place(call.in_place) {
    const size_t size = call.count * element_bytes(call.type);
    const bool collects =
        call.collective == Collective::kAllGather || call.collective == Collective::kGather;
    const bool scatters =
        call.collective == Collective::kReduceScatter || call.collective == Collective::kScatter;
    if (collects) input_offset = static_cast<size_t>(rank) * size;
    if (scatters) output_offset = static_cast<size_t>(rank) * size;
    output.assign(std::max(result_bytes, input_offset + given.size()), std::byte{0xee});
    if (in_place && !scatters) {
      std::copy(given.begin(), given.end(), output.begin() + static_cast<ptrdiff_t>(input_offset));
    }
    scatters_in_place_ = in_place && scatters;
  }
  const std::byte* input_pointer() const {
    return in_place && !scatters_in_place_ ? output.data() + input_offset : input.data();
  }
  std::byte* output_pointer() {
    return scatters_in_place_ ? input.data() + output_offset : output.data();
  }

 private:
  bool scatters_in_place_ = false;
};

std::string check_call(LocalDomain& domain, const RandomCall& call, uint64_t sequence,
                       const std::vector<Bytes>& inputs, int rank, WaitHow how) {
  const Bytes right = expected(call, inputs, rank);
  Buffers buffers(call, inputs[static_cast<size_t>(rank)], right.size(), rank);
  domain.small_begin({.collective = call.collective,
                      .type = call.type,
                      .op = call.op,
                      .divide_by = call.divide_by,
                      .root_index = call.root,
                      .count = call.count,
                      .input = buffers.input_pointer(),
                      .output = buffers.output_pointer(),
                      .sequence = sequence,
                      .fingerprint = 77});
  Progress progress = Progress::kWaiting;
  const bool ended = wait_until(domain, how, [&] {
    progress = domain.small_step();
    return progress != Progress::kWaiting;
  });
  if (!ended || progress != Progress::kDone) {
    return fmt::format("call {} ended {} with {}", sequence, ended, static_cast<int>(progress));
  }
  if (std::equal(right.begin(), right.end(), buffers.output_pointer())) return {};
  return fmt::format("call {}: {} of {} {} {} root {} in place {}: wrong result", sequence,
                     collective_name(call.collective), call.count, data_type_name(call.type),
                     reduce_op_name(call.op), call.root, call.in_place);
}

std::string random_sequence(LocalDomain& domain, int rank, int ranks, uint64_t seed, int calls) {
  std::mt19937_64 random(seed);
  std::mt19937_64 own(seed * 1000 + static_cast<uint64_t>(rank));
  constexpr WaitHow kWays[] = {WaitHow::kYield, WaitHow::kAdaptive, WaitHow::kFutex,
                               WaitHow::kDescriptor};
  for (int i = 1; i <= calls; ++i) {
    const RandomCall call = random_call(random, ranks);
    const size_t blocks = has_block_per_rank(call.collective) ? static_cast<size_t>(ranks) : 1;
    std::vector<Bytes> inputs;
    for (int r = 0; r < ranks; ++r) {
      inputs.push_back(random_elements(random, call.type, call.op, call.count * blocks));
    }
    const WaitHow how = kWays[own() % std::size(kWays)];
    std::string text = check_call(domain, call, static_cast<uint64_t>(i), inputs, rank, how);
    if (!text.empty()) return fmt::format("seed {} rank {}: {}", seed, rank, text);
  }
  return {};
}

class SmallCollectives : public ::testing::TestWithParam<std::tuple<int, RanksAs>> {};

TEST_P(SmallCollectives, RandomSequencesAreRight) {
  const auto [ranks, as] = GetParam();
  for (const uint64_t seed : {1, 2, 3}) {
    const auto texts = run_ranks({.ranks = ranks, .as = as}, [&](LocalDomain& domain, int rank) {
      return random_sequence(domain, rank, ranks, seed * 100 + static_cast<uint64_t>(ranks), 60);
    });
    EXPECT_THAT(texts, Each(IsEmpty()));
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, SmallCollectives,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 5, 8),
                                            ::testing::Values(RanksAs::kThreads,
                                                              RanksAs::kProcesses)));

// Waits for the end of the call under way.
Progress finish_call(LocalDomain& domain) {
  Progress progress = Progress::kWaiting;
  (void)wait_until(domain, WaitHow::kFutex,
                   [&] { return (progress = domain.small_step()) != Progress::kWaiting; });
  return progress;
}

TEST(LocalSmall, TheRootOfABroadcastRunsAheadUntilTheSlotsAreUsedUp) {
  const auto texts = run_ranks({.ranks = 2}, [](LocalDomain& domain, int rank) -> std::string {
    uint64_t value = 0;
    uint64_t go = 0;
    const auto broadcast = [&](uint64_t sequence) {
      value = rank == 0 ? sequence : 0;
      auto* const bytes = reinterpret_cast<std::byte*>(&value);
      domain.small_begin({.collective = Collective::kBroadcast,
                          .type = DataType::kUint64,
                          .count = 1,
                          .input = bytes,
                          .output = bytes,
                          .sequence = sequence});
    };
    if (rank == 0) {
      uint64_t ahead = 0;
      do {
        broadcast(++ahead);
      } while (domain.small_step() == Progress::kDone && ahead < 100);
      if (ahead < 9 || ahead == 100) return fmt::format("ran {} calls ahead", ahead - 1);
      if (!domain.notify(1, ahead)) return "no room for one notification";
      if (finish_call(domain) != Progress::kDone) return "the last call did not end";
      return {};
    }
    struct : LocalNotificationSink {
      uint64_t tag = 0;
      void on_local_notification(int, uint64_t t) override { tag = t; }
    } sink;
    if (!wait_until(domain, WaitHow::kFutex, [&] { return domain.poll(sink); })) return "no go";
    for (go = 1; go <= sink.tag; ++go) {
      broadcast(go);
      if (finish_call(domain) != Progress::kDone) return fmt::format("call {} did not end", go);
      if (value != go) return fmt::format("call {} gave {}", go, value);
    }
    return {};
  });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

TEST(LocalSmall, DifferentCallsAreFoundOnEveryRankAndNothingIsComputed) {
  for (const RanksAs as : {RanksAs::kThreads, RanksAs::kProcesses}) {
    const auto texts =
        run_ranks({.ranks = 3, .as = as}, [](LocalDomain& domain, int rank) -> std::string {
          const int32_t input = 5;
          int32_t output = -1;
          domain.small_begin({.type = DataType::kInt32,
                              .count = 1,
                              .input = reinterpret_cast<const std::byte*>(&input),
                              .output = reinterpret_cast<std::byte*>(&output),
                              .sequence = 9,
                              .fingerprint = rank == 2 ? 222u : 111u});
          if (finish_call(domain) != Progress::kMismatch) return "the mismatch was not found";
          const LocalDomain::SmallMismatch found = domain.small_mismatch();
          const bool right_rank = rank == 2 ? found.index < 2 : found.index == 2;
          if (!right_rank || found.sequence != 9 || found.mine != (rank == 2 ? 222u : 111u) ||
              found.theirs != (rank == 2 ? 111u : 222u)) {
            return fmt::format("rank {} blames rank {} with {}", rank, found.index, found.theirs);
          }
          return output == -1 ? "" : "something was computed";
        });
    EXPECT_THAT(texts, Each(IsEmpty()));
  }
}

TEST(LocalSmall, SizesThatDifferAreFound) {
  for (const size_t others : {4, 64, 1000}) {
    const auto texts = run_ranks({.ranks = 2}, [&](LocalDomain& domain, int rank) -> std::string {
      Bytes input(LocalDomain::kMaxSmallBytes);
      Bytes output(LocalDomain::kMaxSmallBytes);
      const size_t count = rank == 0 ? others : 3;
      domain.small_begin({.type = DataType::kInt32,
                          .count = count,
                          .input = input.data(),
                          .output = output.data(),
                          .sequence = 1,
                          .fingerprint = count});
      if (finish_call(domain) != Progress::kMismatch) return "the mismatch was not found";
      const LocalDomain::SmallMismatch found = domain.small_mismatch();
      return found.theirs == (rank == 0 ? 3 : others) ? "" : "another fingerprint";
    });
    EXPECT_THAT(texts, Each(IsEmpty()));
  }
}

// Both believe to be the root, so neither waits for the other.
TEST(LocalSmall, RootsThatDisagreedAreFoundAtTheNextCallThatMeets) {
  const auto texts = run_ranks({.ranks = 2}, [](LocalDomain& domain, int rank) -> std::string {
    int32_t value = rank;
    auto* const bytes = reinterpret_cast<std::byte*>(&value);
    Small call{.collective = Collective::kBroadcast,
               .type = DataType::kInt32,
               .count = 1,
               .input = bytes,
               .output = bytes};
    for (call.sequence = 1; call.sequence <= 15; ++call.sequence) {
      call.root_index = call.sequence == 15 ? rank : 0;
      call.fingerprint = static_cast<uint64_t>(100 + call.root_index);
      domain.small_begin(call);
      if (finish_call(domain) != Progress::kDone) return "found too early";
    }
    call.collective = Collective::kAllReduce;
    call.fingerprint = 7;
    domain.small_begin(call);
    if (finish_call(domain) != Progress::kMismatch) return "not found";
    const LocalDomain::SmallMismatch found = domain.small_mismatch();
    const bool right = found.index == 1 - rank && found.sequence == 15 &&
                       found.mine == static_cast<uint64_t>(100 + rank) &&
                       found.theirs == static_cast<uint64_t>(101 - rank);
    return right ? "" : fmt::format("blames rank {} for call {}", found.index, found.sequence);
  });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

TEST(LocalSmall, ASmallCallAgainstAReadyRecordIsFoundOnBothSides) {
  const auto texts = run_ranks({.ranks = 2}, [](LocalDomain& domain, int rank) -> std::string {
    if (rank == 0) {
      if (!domain.publish({.sequence = 4, .fingerprint = {1, 2, 3, 4}})) return "not published";
      std::optional<uint64_t> called;
      if (!wait_until(domain, WaitHow::kFutex, [&] {
            called = domain.small_called(1, 4);
            return called.has_value();
          })) {
        return "the small call was not found";
      }
      return *called == 33 ? "" : "another fingerprint";
    }
    std::byte value{};
    domain.small_begin({.type = DataType::kInt8,
                        .count = 1,
                        .input = &value,
                        .output = &value,
                        .sequence = 4,
                        .fingerprint = 33});
    Progress progress = Progress::kWaiting;
    (void)wait_until(domain, WaitHow::kFutex,
                     [&] { return (progress = domain.small_step()) != Progress::kWaiting; });
    if (progress != Progress::kMismatch) return "the ready record was not found";
    const LocalDomain::SmallMismatch found = domain.small_mismatch();
    const bool right = found.index == 0 && found.mine == 33 && found.theirs == 0;
    return right ? "" : "the wrong rank blamed";
  });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

TEST(LocalSmall, WhatSuits) {
  constexpr size_t kMost = LocalDomain::kMaxSmallBytes;
  EXPECT_TRUE(LocalDomain::small_suits(Collective::kAllReduce, kMost, DataType::kInt8, 8));
  EXPECT_FALSE(LocalDomain::small_suits(Collective::kAllReduce, kMost + 1, DataType::kInt8, 8));
  EXPECT_FALSE(LocalDomain::small_suits(Collective::kAllReduce, ~uint64_t{0}, DataType::kInt64, 8));
  EXPECT_FALSE(
      LocalDomain::small_suits(Collective::kAllReduce, uint64_t{1} << 61, DataType::kInt64, 8));
  EXPECT_TRUE(LocalDomain::small_suits(Collective::kAllToAll, kMost / 8, DataType::kInt8, 8));
  EXPECT_FALSE(LocalDomain::small_suits(Collective::kAllToAll, kMost / 8 + 1, DataType::kInt8, 8));
  EXPECT_FALSE(LocalDomain::small_suits(Collective::kSendRecv, 1, DataType::kInt8, 8));
}

}  // namespace
}  // namespace railccl
