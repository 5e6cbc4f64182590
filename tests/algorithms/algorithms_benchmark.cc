// How long it takes to make one rank's schedule, and to verify all ranks' together.
#include <benchmark/benchmark.h>

#include "algorithms/verifier.h"
#include "tests/algorithms/shapes.h"

namespace railccl {
namespace {

void generate_one(benchmark::State& state, std::string_view name) {
  const auto ranks = static_cast<int>(state.range(0));
  const NamedLayout layout = large_layouts(ranks)[1];
  const Shape shape = large_shape(Collective::kAllReduce, layout);
  const Algorithm& algorithm = *find_algorithm(Collective::kAllReduce, name);
  size_t bytes = 0;
  for (auto _ : state) {
    const Schedule schedule = algorithm.generate(shape, ranks / 2);
    bytes = schedule.steps.size() * sizeof(Step) + schedule.slices.size() * sizeof(Slice);
    benchmark::DoNotOptimize(schedule.steps.data());
  }
  state.counters["schedule_bytes"] = static_cast<double>(bytes);
}

void cost_of_all(benchmark::State& state, std::string_view name) {
  const NamedLayout layout = large_layouts(static_cast<int>(state.range(0)))[1];
  const Shape shape = large_shape(Collective::kAllReduce, layout);
  const Algorithm& algorithm = *find_algorithm(Collective::kAllReduce, name);
  for (auto _ : state) benchmark::DoNotOptimize(algorithm.cost(shape));
}

void verify_all(benchmark::State& state, std::string_view name) {
  const NamedLayout layout = large_layouts(static_cast<int>(state.range(0)))[1];
  const Shape shape = large_shape(Collective::kAllReduce, layout);
  const Algorithm& algorithm = *find_algorithm(Collective::kAllReduce, name);
  for (auto _ : state) {
    if (!verify_algorithm(algorithm, shape)) state.SkipWithError("not right");
  }
}

BENCHMARK_CAPTURE(generate_one, tree, "tree")->Arg(1000)->Arg(100'000);
BENCHMARK_CAPTURE(generate_one, doubling, "doubling")->Arg(1000)->Arg(100'000);
BENCHMARK_CAPTURE(generate_one, hierarchical_doubling, "hierarchical-doubling")
    ->Arg(1000)
    ->Arg(100'000);
BENCHMARK_CAPTURE(generate_one, hierarchical_halving, "hierarchical-halving")
    ->Arg(1000)
    ->Arg(100'000);
BENCHMARK_CAPTURE(generate_one, hierarchical, "hierarchical")->Arg(1000)->Arg(100'000);
BENCHMARK_CAPTURE(generate_one, ring, "ring")->Arg(1000)->Arg(100'000);
BENCHMARK_CAPTURE(cost_of_all, tree, "tree")->Arg(1000)->Arg(100'000);
BENCHMARK_CAPTURE(cost_of_all, doubling, "doubling")->Arg(1000)->Arg(100'000);
BENCHMARK_CAPTURE(cost_of_all, hierarchical, "hierarchical")->Arg(1000)->Arg(100'000);
BENCHMARK_CAPTURE(cost_of_all, ring, "ring")->Arg(1000)->Arg(100'000);
BENCHMARK_CAPTURE(verify_all, tree, "tree")->Arg(64)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(verify_all, ring, "ring")->Arg(64)->Arg(256)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace railccl
