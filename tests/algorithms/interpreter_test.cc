// Every algorithm on real numbers, in random interleavings, against plain arithmetic.
#include "tests/algorithms/interpreter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/algorithms/shapes.h"

namespace railccl {
namespace {

uint64_t sum_of_all(const Shape& shape, uint64_t index) {
  uint64_t sum = 0;
  for (int rank = 0; rank < shape.layout->ranks(); ++rank) {
    sum += Interpreter::input_value(rank, index);
  }
  return sum;
}

uint64_t expected(const Shape& shape, int rank, uint64_t index) {
  const auto me = static_cast<uint64_t>(rank);
  const auto block = static_cast<int>(index / shape.block);
  const uint64_t within = index % shape.block;
  switch (shape.collective) {
    case Collective::kAllReduce:
    case Collective::kReduce:
      return sum_of_all(shape, index);
    case Collective::kReduceScatter:
      return sum_of_all(shape, me * shape.block + index);
    case Collective::kBroadcast:
      return Interpreter::input_value(shape.root, index);
    case Collective::kAllGather:
    case Collective::kGather:
      return Interpreter::input_value(block, within);
    case Collective::kScatter:
      return Interpreter::input_value(shape.root, me * shape.block + index);
    case Collective::kAllToAll:
      return Interpreter::input_value(block, me * shape.block + within);
    case Collective::kSendRecv:
      break;
  }
  return 0;
}

std::string wrong_element(const Interpreter& run, const Shape& shape) {
  for (int rank = 0; rank < shape.layout->ranks(); ++rank) {
    const auto& output = run.output(rank);
    for (uint64_t i = 0; i < output.size(); ++i) {
      const uint64_t want = expected(shape, rank, i);
      if (output[i] == want) continue;
      return fmt::format("rank {} element {}: {} instead of {}", rank, i, output[i], want);
    }
  }
  return "";
}

// Five pieces two deep: slots are used again, the last piece is shorter.
std::vector<Shape> shapes_of(const Algorithm& algorithm, const NamedLayout& layout, int root) {
  std::vector<Shape> shapes;
  for (const bool in_place : {false, true}) {
    for (const bool direct : {false, true}) {
      const auto n = static_cast<uint64_t>(layout.layout->ranks());
      Shape shape{.collective = algorithm.collective,
                  .layout = layout.layout,
                  .root = root,
                  .block = 4 * (n + 3) + 2,
                  .piece = n + 3,
                  .max_piece = n + 3,
                  .in_place = in_place,
                  .direct = direct};
      if (!algorithm.unsuitable(shape).empty()) shape.piece = shape.max_piece = shape.block;
      if (algorithm.unsuitable(shape).empty()) shapes.push_back(shape);
    }
  }
  return shapes;
}

TEST(Interpreter, EveryAlgorithmGivesTheRightNumbers) {
  uint32_t seed = 20260101;
  for (const Algorithm& algorithm : catalog()) {
    size_t runs = 0;
    for (const int ranks : {1, 2, 3, 5, 8, 11}) {
      for (const NamedLayout& layout : layouts_of(ranks)) {
        for (const Shape& shape : shapes_of(algorithm, layout, ranks / 2)) {
          Interpreter run(algorithm, shape, 2, std::plus<>(), ++seed);
          const std::string failure = run.run();
          EXPECT_EQ(failure + wrong_element(run, shape), "")
              << describe(algorithm, shape, layout) << " seed " << seed;
          ++runs;
        }
      }
    }
    EXPECT_GT(runs, 10u) << algorithm.name;
  }
}

// The oracle sees what the verifier is there for: without credits some interleaving goes wrong.
TEST(Interpreter, MissingCreditsGiveWrongNumbers) {
  Algorithm broken = *find_algorithm(Collective::kReduceScatter, "ring");
  broken.generate = [](const Shape& shape, int rank) {
    Schedule schedule = find_algorithm(Collective::kReduceScatter, "ring")->generate(shape, rank);
    std::erase_if(schedule.steps, [](const Step& step) { return step.previous_lap; });
    return schedule;
  };
  const NamedLayout layout = layouts_of(3).back();
  const Shape shape = shapes_of(broken, layout, 0)[0];
  int wrong = 0;
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    Interpreter run(broken, shape, 2, std::plus<>(), seed);
    wrong += run.run().empty() && wrong_element(run, shape).empty() ? 0 : 1;
  }
  EXPECT_GT(wrong, 0);
}

// Combining that depends on order and grouping: ranks agree only if both are the same everywhere.
TEST(Interpreter, AllReduceCombinesInTheSameOrderEverywhere) {
  uint32_t seed = 4711;
  const Combine ordered = [](uint64_t a, uint64_t b) { return (a * 31 ^ b) * 1'000'000'007; };
  for (const Algorithm& algorithm : catalog()) {
    if (algorithm.collective != Collective::kAllReduce) continue;
    for (const NamedLayout& layout : layouts_of(7)) {
      for (const Shape& shape : shapes_of(algorithm, layout, 0)) {
        Interpreter run(algorithm, shape, 2, ordered, ++seed);
        ASSERT_EQ(run.run(), "") << describe(algorithm, shape, layout) << " seed " << seed;
        for (int rank = 1; rank < 7; ++rank) {
          EXPECT_EQ(run.output(rank), run.output(0)) << describe(algorithm, shape, layout);
        }
      }
    }
  }
}

}  // namespace
}  // namespace railccl
