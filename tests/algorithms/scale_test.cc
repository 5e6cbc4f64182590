// Thousand-rank communicators, all schedules verified together; and one rank's schedule of very
// large ones, which must stay small.
#include <gtest/gtest.h>

#include <chrono>

#include "algorithms/verifier.h"
#include "tests/algorithms/shapes.h"

namespace railccl {
namespace {

struct ScaleCase {
  Collective collective;
  std::string_view algorithm;
};

std::vector<ScaleCase> all_cases() {
  std::vector<ScaleCase> cases;
  for (const Algorithm& algorithm : catalog()) {
    cases.push_back({algorithm.collective, algorithm.name});
  }
  return cases;
}

// Elements that give each of `ranks` parts something, and some more.
Shape shape_of(Collective collective, const NamedLayout& layout) {
  const auto ranks = static_cast<uint64_t>(layout.layout->ranks());
  const bool whole = collective == Collective::kAllReduce || collective == Collective::kBroadcast ||
                     collective == Collective::kReduce;
  const uint64_t piece = whole ? 2 * ranks + 1 : 1;
  return {.collective = collective,
          .layout = layout.layout,
          .root = layout.layout->ranks() / 3,
          .block = piece,
          .piece = piece,
          .direct = true};
}

class Scale : public testing::TestWithParam<ScaleCase> {};

TEST_P(Scale, Verifies) {
  const Algorithm* const algorithm = find_algorithm(GetParam().collective, GetParam().algorithm);
  ASSERT_NE(algorithm, nullptr);
  size_t verified = 0;
  for (const NamedLayout& layout : large_layouts(1000)) {
    const Shape shape = shape_of(algorithm->collective, layout);
    if (!algorithm->unsuitable(shape).empty()) continue;
    auto t0 = std::chrono::steady_clock::now();
    const Status status = verify_algorithm(*algorithm, shape);
    EXPECT_TRUE(status.is_ok()) << describe(*algorithm, shape, layout) << ": " << status.message();
    printf("%s %.2fs\n", describe(*algorithm, shape, layout).c_str(),
           std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count());
    ++verified;
  }
  EXPECT_GT(verified, 0u);
}

INSTANTIATE_TEST_SUITE_P(Catalog, Scale, testing::ValuesIn(all_cases()),
                         [](const testing::TestParamInfo<ScaleCase>& tested) {
                           std::string name(collective_name(tested.param.collective));
                           for (const char c : tested.param.algorithm) name += c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace railccl
