#include "perftest/common/measure.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <vector>

#include "perftest/common/operation.h"
#include "perftest/common/pattern.h"

namespace railccl::perftest {
namespace {

using Clock = std::chrono::steady_clock;

// --seconds: a round is made longer until it takes so long.
constexpr double kRoundSeconds = 0.05;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One rank's times of one round of iterations.
struct RoundTimes {
  double total_s = 0;
  double issue_s = 0;                // until the calls had returned
  std::vector<double> iteration_us;  // of one operation; empty where iterations have no end
};

class Measurement {
 public:
  Measurement(const RankContext& context, const TestCase& test, bool in_place, uint64_t repetition)
      : context_(context),
        options_(context.options),
        test_(test),
        in_place_(in_place),
        repetition_(repetition),
        operation_(context, test, in_place) {}

  Outcome<Measured> run();

 private:
  bool checks() const { return options_.check_iterations > 0 && result_is_defined(); }
  bool result_is_defined() const { return !in_place_ || context_.collective.in_place_defined; }
  // Whether the end of each iteration is known without changing what is measured.
  bool iterations_end() const {
    return !asynchronous(options_) || options_.per_iteration ||
           options_.blocking != Blocking::kNone;
  }
  CheckedOperation checked_operation(uint64_t seed) const;
  bool in_graphs() const { return options_.graph_launches > 0; }
  Outcome<void> first_operation() const;
  Outcome<void> checked_run() const;
  Outcome<RoundTimes> timed_round(uint64_t iterations);
  Outcome<RoundTimes> timed_graph_round(uint64_t graphs);
  Outcome<void> timed_rounds();
  Outcome<void> merge_iterations(const RoundTimes& times);
  Outcome<void> check_once();
  Outcome<void> finish_times();

  const RankContext& context_;
  const Options& options_;
  const TestCase& test_;
  const bool in_place_;
  const uint64_t repetition_;
  const Operation operation_;

  std::optional<GpuGraph> graph_;  // -G: of the iterations of -n
  uint64_t iterations_ = 0;
  double total_s_ = 0;
  double issue_s_ = 0;
  uint64_t checked_ = 0;
  Measured measured_;
};

CheckedOperation Measurement::checked_operation(uint64_t seed) const {
  PatternKey key{.type = test_.type, .seed = seed, .ranks = context_.crew.ranks()};
  if (context_.collective.reduces) key.op = test_.op;
  return {context_.collective, operation_.layout(), operation_.position(), Pattern(key), in_place_};
}

Outcome<Measured> Measurement::run() {
  const Watched watched(context_.watchdog, context_.thread);
  PERFTEST_TRY(first_operation());
  PERFTEST_TRY(context_.crew.barrier(context_.thread));
  PERFTEST_TRY(timed_rounds());
  graph_.reset();  // while no rank has a kernel that waits for others: this may wait for the GPU
  PERFTEST_TRY(finish_times());
  PERFTEST_TRY(context_.crew.barrier(context_.thread));
  if (options_.check_iterations > 0 && result_is_defined() && !measured_.result.wrong) {
    measured_.result.wrong = 0;
  }
  for (int i = 0; checks() && i < options_.check_iterations && *measured_.result.wrong == 0; ++i) {
    PERFTEST_TRY(check_once());
  }
  return measured_;
}

Outcome<void> Measurement::first_operation() const {
  if (options_.check_iterations > 0) {
    PERFTEST_TRY(context_.memory.prepare(checked_operation(repetition_ + 99), context_.buffers));
  }
  PERFTEST_TRY(operation_.issue_at_begin());
  return operation_.wait();
}

Outcome<RoundTimes> Measurement::timed_round(uint64_t iterations) {
  RoundTimes times;
  const bool wait_for_each =
      options_.blocking == Blocking::kOuter || (asynchronous(options_) && options_.per_iteration);
  double outer_s = 0;
  const auto start = Clock::now();
  for (uint64_t i = 0; i < iterations; ++i) {
    const auto iteration_start = Clock::now();
    PERFTEST_TRY(operation_.issue_iteration(iterations_ + i));
    if (wait_for_each) PERFTEST_TRY(operation_.wait());
    const double iteration_s = seconds_since(iteration_start);
    if (iterations_end()) times.iteration_us.push_back(iteration_s * 1e6 / options_.aggregated);
    if (options_.blocking == Blocking::kOuter) {
      outer_s += iteration_s;
      PERFTEST_TRY(context_.crew.barrier(context_.thread));
    }
  }
  times.issue_s = seconds_since(start);
  PERFTEST_TRY(operation_.wait());
  times.total_s = seconds_since(start);
  if (options_.blocking == Blocking::kOuter) times.issue_s = times.total_s = outer_s;
  iterations_ += iterations;
  return times;
}

// As a round of iterations, launched in graphs of -n iterations each.
Outcome<RoundTimes> Measurement::timed_graph_round(uint64_t graphs) {
  const GpuStream& stream = *context_.memory.gpu();
  if (!graph_) {
    auto captured = stream.capture([this]() -> Outcome<void> {
      for (int i = 0; i < options_.iterations; ++i) {
        PERFTEST_TRY(operation_.issue_iteration(static_cast<uint64_t>(i)));
      }
      return {};
    });
    if (!captured) return tl::unexpected(captured.error());
    graph_.emplace(std::move(*captured));
  }
  // To make a graph takes long, and may wait for a GPU that another rank already uses.
  PERFTEST_TRY(context_.crew.barrier(context_.thread));
  RoundTimes times;
  const auto start = Clock::now();
  for (uint64_t i = 0; i < graphs; ++i) PERFTEST_TRY(stream.launch(*graph_));
  times.issue_s = seconds_since(start);
  PERFTEST_TRY(operation_.wait());
  times.total_s = seconds_since(start);
  iterations_ += graphs * static_cast<uint64_t>(options_.iterations);
  return times;
}

Outcome<void> Measurement::timed_rounds() {
  const auto start = Clock::now();
  auto number = static_cast<uint64_t>(in_graphs() ? options_.graph_launches : options_.iterations);
  while (true) {
    const auto times = in_graphs() ? timed_graph_round(number) : timed_round(number);
    if (!times) return tl::unexpected(times.error());
    total_s_ += times->total_s;
    issue_s_ += times->issue_s;
    PERFTEST_TRY(merge_iterations(*times));
    if (options_.seconds <= 0) return {};
    // Rank 0's clock decides for all.
    const auto elapsed =
        context_.crew.combine(context_.thread, seconds_since(start), Average::kRank0);
    if (!elapsed) return tl::unexpected(elapsed.error());
    if (*elapsed >= options_.seconds) return {};
    const auto round = context_.crew.combine(context_.thread, times->total_s, Average::kRank0);
    if (!round) return tl::unexpected(round.error());
    if (*round < kRoundSeconds) number *= 2;
    if (checks()) PERFTEST_TRY(check_once());
    context_.watchdog.arm(context_.thread);
  }
}

// Adds a round's iterations: for each the slowest rank's time, and with -I the slowest thread's of
// each process.
Outcome<void> Measurement::merge_iterations(const RoundTimes& times) {
  const size_t count = times.iteration_us.size();
  const auto all = context_.crew.all_values(context_.thread, times.iteration_us);
  if (!all) return tl::unexpected(all.error());
  const auto ranks = static_cast<size_t>(context_.crew.ranks());
  const auto processes = static_cast<size_t>(context_.crew.processes());
  const size_t threads = ranks / processes;
  auto& rows = measured_.result.process_iteration_us;
  if (options_.per_iteration) rows.resize(processes);
  for (size_t i = 0; i < count; ++i) {
    double slowest = 0;
    for (size_t process = 0; process < processes; ++process) {
      double slowest_thread = 0;
      for (size_t thread = 0; thread < threads; ++thread) {
        slowest_thread = std::max(slowest_thread, (*all)[(process * threads + thread) * count + i]);
      }
      if (options_.per_iteration) rows[process].push_back(slowest_thread);
      slowest = std::max(slowest, slowest_thread);
    }
    measured_.result.iteration_us.push_back(slowest);
  }
  return {};
}

Outcome<void> Measurement::finish_times() {
  const double operations =
      static_cast<double>(iterations_) * static_cast<double>(options_.aggregated);
  const auto time_s =
      context_.crew.combine(context_.thread, total_s_ / operations, options_.average);
  if (!time_s) return tl::unexpected(time_s.error());
  const uint64_t call_bytes = operation_.layout().call_count * type_info(test_.type).bytes;
  const Bandwidth rate = bandwidth(context_.collective, call_bytes, context_.crew.ranks(), *time_s);
  measured_.iterations = iterations_;
  measured_.result.time_us = (options_.report_cpu_time ? issue_s_ / operations : *time_s) * 1e6;
  measured_.result.algorithm_bandwidth = rate.algorithm;
  measured_.result.bus_bandwidth = rate.bus;
  return {};
}

// The operation once, as it was timed.
Outcome<void> Measurement::checked_run() const {
  if (!in_graphs()) {
    PERFTEST_TRY(operation_.issue_at_begin());
    return operation_.wait();
  }
  const GpuStream& stream = *context_.memory.gpu();
  const auto graph = stream.capture([this] { return operation_.issue_at_begin(); });
  if (!graph) return tl::unexpected(graph.error());
  PERFTEST_TRY(context_.crew.barrier(context_.thread));
  PERFTEST_TRY(stream.launch(*graph));
  return operation_.wait();
}

Outcome<void> Measurement::check_once() {
  const CheckedOperation checked = checked_operation(repetition_ * 1000 + ++checked_);
  PERFTEST_TRY(context_.memory.prepare(checked, context_.buffers));
  PERFTEST_TRY(checked_run());
  const auto wrong = context_.memory.count_wrong(checked, context_.buffers);
  if (!wrong) return tl::unexpected(wrong.error());
  const auto total = context_.crew.sum(context_.thread, *wrong);
  if (!total) return tl::unexpected(total.error());
  const auto failed = context_.crew.sum(context_.thread, *wrong > 0 ? 1 : 0);
  if (!failed) return tl::unexpected(failed.error());
  measured_.result.wrong = measured_.result.wrong.value_or(0) + *total;
  measured_.failed_ranks = std::max(measured_.failed_ranks, *failed);
  return {};
}

}  // namespace

Outcome<Measured> measure(const RankContext& context, const TestCase& test, bool in_place,
                          uint64_t repetition) {
  return Measurement(context, test, in_place, repetition).run();
}

Outcome<void> warm_up(const RankContext& context, const TestCase& test) {
  const Watched watched(context.watchdog, context.thread);
  const Operation operation(context, test, false);
  for (int i = 0; i < context.options.warmup_iterations; ++i) {
    PERFTEST_TRY(operation.issue_iteration(static_cast<uint64_t>(i)));
  }
  return operation.wait();
}

}  // namespace railccl::perftest
