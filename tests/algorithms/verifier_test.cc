// The verifier rejects schedules that are broken on purpose, each with a message that names rank,
// step and reason; and accepts what they were made from.
#include "algorithms/verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "algorithms/builder.h"

namespace railccl {
namespace {

using algorithms::Builder;
using algorithms::Phase;
using testing::AllOf;
using testing::HasSubstr;

std::shared_ptr<const Layout> one_rank_per_node(int ranks) {
  std::vector<int> nodes;
  for (int rank = 0; rank < ranks; ++rank) nodes.push_back(rank);
  return std::make_shared<const Layout>(make_layout(nodes));
}

std::shared_ptr<const Layout> one_node(int ranks) {
  return std::make_shared<const Layout>(make_layout(std::vector<int>(static_cast<size_t>(ranks))));
}

// Two pieces, so that laps follow each other.
Shape shape_of(Collective collective, std::shared_ptr<const Layout> layout) {
  return {.collective = collective,
          .layout = std::move(layout),
          .block = 128,
          .piece = 64,
          .max_piece = 64};
}

ScheduleSet generate(std::string_view name, const Shape& shape) {
  return generate_all(*find_algorithm(shape.collective, name), shape);
}

std::string message_of(const ScheduleSet& set, const ScheduleSet* tail = nullptr) {
  const auto result = verify(set, tail);
  return result ? "accepted" : std::string(result.error().message());
}

// The first step of a kind, from `first` on.
size_t find_step(const Schedule& schedule, StepKind kind, size_t first = 0) {
  for (size_t i = first; i < schedule.steps.size(); ++i) {
    if (schedule.steps[i].kind == kind) return i;
  }
  ADD_FAILURE() << "no such step";
  return 0;
}

Step& step_of(ScheduleSet& set, size_t rank, StepKind kind, size_t first = 0) {
  return set.ranks[rank].steps[find_step(set.ranks[rank], kind, first)];
}

Slice& destination(ScheduleSet& set, size_t rank, const Step& step) {
  return set.ranks[rank].slices[step.first_slice];
}

Slice& source(ScheduleSet& set, size_t rank, const Step& step, size_t index = 0) {
  return set.ranks[rank].slices[step.first_slice + step.num_dsts + index];
}

void erase_step(Schedule& schedule, size_t step) {
  schedule.steps.erase(schedule.steps.begin() + static_cast<std::ptrdiff_t>(step));
}

class RingAllReduce : public testing::Test {
 protected:
  ScheduleSet set_ = generate("ring", shape_of(Collective::kAllReduce, one_rank_per_node(4)));
};

TEST_F(RingAllReduce, IsRight) { EXPECT_EQ(message_of(set_), "accepted"); }

TEST_F(RingAllReduce, MissingWait) {
  erase_step(set_.ranks[2], find_step(set_.ranks[2], StepKind::kWait));
  EXPECT_THAT(message_of(set_),
              HasSubstr("rank 1 step 0: rank 2 never waits for its notification"));
}

TEST_F(RingAllReduce, MissingPut) {
  erase_step(set_.ranks[1], find_step(set_.ranks[1], StepKind::kPut));
  EXPECT_THAT(message_of(set_), AllOf(HasSubstr("rank 2 step 1: waits for notification"),
                                      HasSubstr("of rank 1, which is not sent")));
}

TEST_F(RingAllReduce, NotificationSentTwice) {
  auto& steps = set_.ranks[1].steps;
  Step again = steps[find_step(set_.ranks[1], StepKind::kPut)];
  steps.push_back(again);
  EXPECT_THAT(message_of(set_), AllOf(HasSubstr("rank 1 step"), HasSubstr("is sent twice")));
}

TEST_F(RingAllReduce, SwappedSlots) {
  // The first and the second put of rank 1 land in each other's slot.
  Step& first = step_of(set_, 1, StepKind::kPut);
  const size_t index = find_step(set_.ranks[1], StepKind::kPut);
  Step& second = step_of(set_, 1, StepKind::kPut, index + 1);
  std::swap(destination(set_, 1, first), destination(set_, 1, second));
  EXPECT_THAT(message_of(set_), AllOf(HasSubstr("rank 2 step 2: its use of scratch 0 of rank 2"),
                                      HasSubstr("not ordered after the write by rank 1 step 3")));
}

TEST_F(RingAllReduce, SourceHasOtherElements) {
  Step& reduce = step_of(set_, 3, StepKind::kReduce);
  source(set_, 3, reduce, 1).offset ^= 16;
  EXPECT_THAT(message_of(set_), AllOf(HasSubstr("rank 3 step"), HasSubstr("other elements")));
}

TEST_F(RingAllReduce, ContributionTwice) {
  Step& reduce = step_of(set_, 0, StepKind::kReduce);
  source(set_, 0, reduce, 0) = source(set_, 0, reduce, 1);
  EXPECT_THAT(message_of(set_),
              AllOf(HasSubstr("rank 0 step"), HasSubstr("contribution of rank 0 is added twice")));
}

TEST_F(RingAllReduce, FinalTooEarly) {
  step_of(set_, 0, StepKind::kReduce).final = true;
  EXPECT_THAT(message_of(set_), AllOf(HasSubstr("rank 0 step"), HasSubstr("marked final, but"),
                                      HasSubstr("contributions of ranks")));
}

TEST_F(RingAllReduce, NotMarkedFinal) {
  for (Step& step : set_.ranks[2].steps) step.final = false;
  EXPECT_THAT(message_of(set_), AllOf(HasSubstr("rank 2 step"), HasSubstr("not marked final")));
}

TEST_F(RingAllReduce, Deadlock) {
  // Everyone waits before it sends.
  for (Schedule& schedule : set_.ranks) std::swap(schedule.steps[0], schedule.steps[1]);
  EXPECT_THAT(message_of(set_),
              AllOf(HasSubstr("deadlock: rank"), HasSubstr("step 0 waits for step 1 of rank")));
}

TEST_F(RingAllReduce, OutOfBoundsOfTheOutput) {
  Step& last = *std::find_if(set_.ranks[1].steps.rbegin(), set_.ranks[1].steps.rend(),
                             [](const Step& step) { return step.kind == StepKind::kPut; });
  destination(set_, 1, last).offset = 64;  // of the next piece
  EXPECT_THAT(message_of(set_), AllOf(HasSubstr("rank 1 step"),
                                      HasSubstr("elements 64 to 80 are "
                                                "outside the piece's part of output of rank 2")));
}

TEST_F(RingAllReduce, OutOfBoundsOfScratch) {
  set_.ranks[3].scratch_elements -= 32;
  EXPECT_THAT(message_of(set_), AllOf(HasSubstr("rank 2 step"), HasSubstr("scratch of rank 3")));
}

TEST_F(RingAllReduce, BadFields) {
  const auto broken = [&](auto change) {
    ScheduleSet set = set_;
    change(set);
    return message_of(set);
  };
  const auto first_put = [&](ScheduleSet& set) -> Step& { return step_of(set, 1, StepKind::kPut); };
  EXPECT_THAT(broken([&](ScheduleSet& s) { first_put(s).peer = 4; }), HasSubstr("its peer is 4"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { first_put(s).peer = 1; }), HasSubstr("its peer is 1"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { first_put(s).tag = kMaxTags; }), HasSubstr("its tag"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { first_put(s).count = 0; }), HasSubstr("no elements"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { first_put(s).num_srcs = 2; }), HasSubstr("2 sources"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { first_put(s).final = true; }), HasSubstr("final"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { first_put(s).previous_lap = true; }),
              HasSubstr("only a signal or a wait can cross laps"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { first_put(s).first_slice = 1u << 30; }),
              HasSubstr("it names slice"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { destination(s, 1, first_put(s)).buffer = {}; }),
              HasSubstr("rank 1 step 0: it writes the input"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { source(s, 1, first_put(s)).owner = 2; }),
              HasSubstr("a put is from own memory"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { s.ranks.pop_back(); }),
              HasSubstr("3 schedules for 4 ranks"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { s.shape.root = -1; }), HasSubstr("root -1"));
  EXPECT_THAT(broken([&](ScheduleSet& s) { s.shape.piece = 200; }), HasSubstr("piece of 200"));
}

TEST_F(RingAllReduce, RemoteMemoryIsNotLoaded) {
  Step& reduce = step_of(set_, 0, StepKind::kReduce);
  source(set_, 0, reduce, 1).owner = 1;
  EXPECT_THAT(message_of(set_),
              AllOf(HasSubstr("rank 0 step"), HasSubstr("rank 1 is no local peer")));
}

TEST(Verifier, MissingCredit) {
  ScheduleSet set = generate("ring", shape_of(Collective::kReduceScatter, one_rank_per_node(3)));
  ASSERT_EQ(message_of(set), "accepted");
  for (Schedule& schedule : set.ranks) {
    std::erase_if(schedule.steps, [](const Step& step) { return step.previous_lap; });
  }
  EXPECT_THAT(message_of(set), AllOf(HasSubstr("(lap 1) is not ordered after"),
                                     HasSubstr("(lap 0)"), HasSubstr("scratch")));
  // With one piece there is no next lap, and nothing to be ordered.
  set.shape.block = set.shape.piece;
  for (Schedule& schedule : set.ranks) {
    for (Slice& slice : schedule.slices) {
      if (slice.buffer == BufferId::kInput) slice.offset /= 2;
    }
  }
  EXPECT_EQ(message_of(set), "accepted");
}

TEST(Verifier, CreditThatIsNotWaitedFor) {
  ScheduleSet set = generate("ring", shape_of(Collective::kReduceScatter, one_rank_per_node(3)));
  auto& steps = set.ranks[1].steps;
  std::erase_if(steps, [](const Step& s) { return s.previous_lap && s.kind == StepKind::kWait; });
  EXPECT_THAT(message_of(set), AllOf(HasSubstr("rank 2 step"), HasSubstr("rank 1 never waits"),
                                     HasSubstr("next lap")));
}

TEST(Verifier, CreditTooEarly) {
  // Before the reads that it is for.
  ScheduleSet set = generate("ring", shape_of(Collective::kReduceScatter, one_rank_per_node(3)));
  auto& steps = set.ranks[1].steps;
  ASSERT_TRUE(steps.back().previous_lap);
  std::rotate(steps.begin(), steps.end() - 1, steps.end());
  EXPECT_THAT(message_of(set), AllOf(HasSubstr("rank 0 step"), HasSubstr("of rank 1 (lap 1)"),
                                     HasSubstr("rank 1 step")));
}

TEST(Verifier, UnorderedWriteInPlace) {
  // Two ranks exchange inputs and reduce into the same memory: rank 1 may not have got it yet.
  Shape shape = shape_of(Collective::kAllReduce, one_rank_per_node(2));
  const auto make = [&] {
    ScheduleSet set{.shape = shape, .ranks = {}};
    for (int rank = 0; rank < 2; ++rank) {
      Builder b(shape, rank);
      const uint64_t slot = b.allocate(64);
      b.wait_released_by(1 - rank);
      b.put(1 - rank, b.input(0), b.scratch(slot), 64, Phase::kReduce);
      b.wait(1 - rank, Phase::kReduce);
      const Slice lower = rank == 0 ? b.input(0) : b.scratch(slot);
      const Slice upper = rank == 0 ? b.scratch(slot) : b.input(0);
      b.reduce({b.output(0)}, {lower, upper}, 64, true);
      b.release_to(1 - rank);
      set.ranks.push_back(b.take());
    }
    return set;
  };
  EXPECT_EQ(message_of(make()), "accepted");
  shape.in_place = true;
  EXPECT_THAT(message_of(make()), AllOf(HasSubstr("rank 1 step 3: its use of output 0 of rank 1"),
                                        HasSubstr("not ordered after the read by rank 1 step 1")));
}

TEST(Verifier, OtherOrderOfCombination) {
  const Shape shape = shape_of(Collective::kAllReduce, one_rank_per_node(2));
  ScheduleSet set = generate("doubling", shape);
  ASSERT_EQ(message_of(set), "accepted");
  Step& reduce = step_of(set, 1, StepKind::kReduce);
  std::swap(source(set, 1, reduce, 0), source(set, 1, reduce, 1));
  EXPECT_THAT(message_of(set), AllOf(HasSubstr("rank 1"), HasSubstr("combined in another order")));
}

TEST(Verifier, SourceOverwrittenDuringPut) {
  const Shape shape = shape_of(Collective::kBroadcast, one_rank_per_node(3));
  ScheduleSet set{.shape = shape, .ranks = {}};
  Builder root(shape, 0);
  const uint64_t staging = root.allocate(64);
  for (int peer = 1; peer < 3; ++peer) {
    root.copy({root.scratch(staging)}, root.input(0), 64);
    root.put(peer, root.scratch(staging), root.output(0), 64, Phase::kGather);
  }
  root.copy({root.output(0)}, root.input(0), 64);
  set.ranks.push_back(root.take());
  for (int rank = 1; rank < 3; ++rank) {
    Builder b(shape, rank);
    b.wait(0, Phase::kGather);
    set.ranks.push_back(b.take());
  }
  EXPECT_THAT(message_of(set), AllOf(HasSubstr("rank 0 step 2: its use of scratch 0 of rank 0"),
                                     HasSubstr("the read by rank 0 step 1")));
}

TEST(Verifier, EndsWhileOthersUseItsMemory) {
  Shape shape = shape_of(Collective::kAllReduce, one_node(3));
  shape.direct = true;
  ScheduleSet set = generate("local", shape);
  ASSERT_EQ(message_of(set), "accepted");
  for (Schedule& schedule : set.ranks) {
    std::erase_if(schedule.steps, [](const Step& step) { return step.kind != StepKind::kReduce; });
  }
  EXPECT_THAT(message_of(set), AllOf(HasSubstr("rank 1 step 0"), HasSubstr("rank 0 can end")));
}

TEST(Verifier, OnlyScratchOfLocalPeersIsReachedUnlessDirect) {
  Shape shape = shape_of(Collective::kAllGather, one_node(2));
  shape.direct = true;
  ScheduleSet puts = generate("ring", shape);
  ScheduleSet stores = generate("local", shape);
  ASSERT_EQ(message_of(puts), "accepted");
  ASSERT_EQ(message_of(stores), "accepted");
  puts.shape.direct = false;
  stores.shape.direct = false;
  EXPECT_THAT(message_of(puts), HasSubstr("only the scratch of local peers"));
  EXPECT_THAT(message_of(stores), HasSubstr("only the scratch of local peers"));
}

TEST(Verifier, WrongElement) {
  ScheduleSet set = generate("direct", shape_of(Collective::kAllToAll, one_rank_per_node(3)));
  ASSERT_EQ(message_of(set), "accepted");
  Step& put = step_of(set, 1, StepKind::kPut);
  source(set, 1, put).offset = 0;  // what is for rank 0, to rank 2
  EXPECT_THAT(message_of(set),
              AllOf(HasSubstr("rank 2 at the end: output elements 128 to 192"),
                    HasSubstr("element 256 on of rank 1"), HasSubstr("from element 0 on")));
}

TEST(Verifier, OutputNotWritten) {
  ScheduleSet set = generate("ring", shape_of(Collective::kAllGather, one_rank_per_node(2)));
  erase_step(set.ranks[1], find_step(set.ranks[1], StepKind::kCopy));
  EXPECT_THAT(message_of(set), AllOf(HasSubstr("rank 1 step"), HasSubstr("not all written")));
}

TEST(Verifier, DestinationsOverlap) {
  const Shape shape = shape_of(Collective::kBroadcast, one_rank_per_node(1));
  Builder b(shape, 0);
  b.allocate(80);
  b.copy({b.scratch(0), b.scratch(16)}, b.input(0), 64);
  b.copy({b.output(0)}, b.input(0), 64);
  const ScheduleSet set{.shape = shape, .ranks = {b.take()}};
  EXPECT_THAT(message_of(set), HasSubstr("rank 0 step 0: a destination overlaps"));
}

TEST(Verifier, ReduceInABroadcast) {
  const Shape shape = shape_of(Collective::kBroadcast, one_rank_per_node(1));
  Builder b(shape, 0);
  b.reduce({b.output(0)}, {b.input(0), b.input(0)}, 64, true);
  const ScheduleSet set{.shape = shape, .ranks = {b.take()}};
  EXPECT_THAT(message_of(set), HasSubstr("rank 0 step 0: a reduce in Broadcast"));
}

TEST(Verifier, LastPieceOfWrongSizeOrScratch) {
  Shape shape = shape_of(Collective::kReduceScatter, one_rank_per_node(2));
  shape.block = 100;
  const ScheduleSet set = generate("ring", shape);
  Shape rest = shape;
  rest.piece = 36;
  const ScheduleSet tail = generate("ring", rest);
  EXPECT_EQ(message_of(set, &tail), "accepted");
  EXPECT_THAT(message_of(set), HasSubstr("leave 36 of 100"));
  rest.piece = 35;
  const ScheduleSet wrong = generate("ring", rest);
  EXPECT_THAT(message_of(set, &wrong), HasSubstr("leave 36 of 100"));
  rest.piece = 36;
  rest.max_piece = 65;
  const ScheduleSet larger = generate("ring", rest);
  EXPECT_THAT(message_of(set, &larger), HasSubstr("uses more scratch"));
}

// Without max_piece the last piece lays out its scratch in its own way, and its puts meet the slots
// of the piece before.
TEST(Verifier, LastPieceWithItsOwnLayoutOfScratch) {
  Shape shape = shape_of(Collective::kAllToAll, one_node(4));
  shape.block = 100;
  const ScheduleSet set = generate("direct", shape);
  Shape rest = shape;
  rest.piece = 36;
  const ScheduleSet good = generate("direct", rest);
  EXPECT_EQ(message_of(set, &good), "accepted");
  rest.max_piece = 0;
  const ScheduleSet bad = generate("direct", rest);
  EXPECT_THAT(message_of(set, &bad), AllOf(HasSubstr("lap 1"), HasSubstr("scratch")));
}

TEST(Verifier, WrongCost) {
  Algorithm ring = *find_algorithm(Collective::kAllReduce, "ring");
  const Shape shape = shape_of(Collective::kAllReduce, one_rank_per_node(4));
  EXPECT_TRUE(verify_algorithm(ring, shape).is_ok());
  ring.cost = [](const Shape&) { return Cost{.latency_steps_inter = 6, .bytes_sent_inter = 1.4}; };
  EXPECT_THAT(std::string(verify_algorithm(ring, shape).message()),
              HasSubstr("cost: bytes_sent_inter declared 1.4, counted 1.5"));
  ring.cost = [](const Shape&) { return Cost{.latency_steps_inter = 5}; };
  EXPECT_THAT(std::string(verify_algorithm(ring, shape).message()),
              HasSubstr("latency_steps_inter declared 5, counted 6"));
}

}  // namespace
}  // namespace railccl
