// What a record of the trace and a look at the cheap clock cost.
#include <benchmark/benchmark.h>

#include "src/base/stats.h"
#include "src/base/trace.h"

namespace railccl {
namespace {

void trace_record(benchmark::State& state) {
  set_trace_enabled(true);
  uint64_t count = 0;
  for (auto _ : state) trace({.kind = TraceKind::kChunkPosted, .rail = 1, .peer = 2, .a = ++count});
  set_trace_enabled(false);
}
BENCHMARK(trace_record);

void trace_record_with_time_given(benchmark::State& state) {
  set_trace_enabled(true);
  TimeNs now = 0;
  for (auto _ : state) trace_at(++now, {.kind = TraceKind::kChunkPosted, .rail = 1, .peer = 2});
  set_trace_enabled(false);
}
BENCHMARK(trace_record_with_time_given);

void trace_when_off(benchmark::State& state) {
  set_trace_enabled(false);
  for (auto _ : state) trace({.kind = TraceKind::kChunkPosted, .rail = 1, .peer = 2});
}
BENCHMARK(trace_when_off);

void fast_clock_now(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(fast_now_ns());
}
BENCHMARK(fast_clock_now);

void system_clock_now(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(system_clock().now_ns());
}
BENCHMARK(system_clock_now);

void histogram_add(benchmark::State& state) {
  Histogram histogram;
  uint64_t value = 1;
  for (auto _ : state) histogram.add(value = value * 6364136223846793005u + 1);
  benchmark::DoNotOptimize(histogram.count());
}
BENCHMARK(histogram_add);

}  // namespace
}  // namespace railccl
