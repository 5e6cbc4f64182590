// The first node: says what is measured next, measures, and shows it as it goes.
#pragma once

#include <cstdio>

#include "perftest/common/outcome.h"
#include "perftest/rail_perf/options.h"
#include "perftest/rail_perf/ping_pong.h"
#include "perftest/rail_perf/result.h"
#include "perftest/rail_perf/session.h"
#include "perftest/rail_perf/stream.h"

namespace railccl::perftest::railperf {

class Conductor {
 public:
  // `report` has nodes, pairs and settings; what is measured is added to it. Text goes to `out`.
  Conductor(const RailPerfOptions& options, Session& session, std::vector<LinkOptions::Pair> pairs,
            Report& report, uint64_t eager_bytes, std::FILE* out);

  // The error of a link is in its result; what is returned ends the run.
  Status run();

 private:
  // The positions of the pairs of each link.
  std::vector<std::vector<size_t>> plan_links() const;
  Status prepare();
  Status connect(uint32_t link);
  Status measure(uint32_t link);
  Status check(uint32_t link, uint64_t bytes);
  Status check_there(const Order& order, CheckResult& check);
  Status check_here(const Order& order, CheckResult& check);
  Result<BandwidthResult> bandwidth(uint32_t link, uint64_t bytes);
  Result<Stream> one_way(uint32_t link, uint64_t bytes, std::vector<uint64_t>& rail_bytes);
  Result<std::array<Stream, 2>> both_ways(const Order& order);
  Result<LatencyResult> latency(uint32_t link, uint64_t bytes);
  Result<RateResult> rate(uint32_t link, uint64_t bytes);
  Status measure_bandwidth(uint32_t link);
  Status measure_latency(uint32_t link);
  Status measure_rate(uint32_t link);
  void note_rails(uint32_t link);

  // One order, and its report; the error of the other node is an error.
  Result<Answer> ask(const Order& order);
  Status tell(const Order& order);
  Result<Answer> await_answer(Task task);
  Status stream(uint32_t link, uint64_t bytes, const Length& length, Stream& result);
  Length length() const;
  Length warmup() const;
  Order order(Task task, uint32_t link, uint64_t bytes) const;
  void show(const std::string& text);

  const RailPerfOptions& options_;
  Session& session_;
  std::vector<LinkOptions::Pair> pairs_;
  Report& report_;
  uint64_t eager_bytes_;
  std::FILE* out_;
  PutTimes put_times_;
  RoundTrips round_trips_;
};

}  // namespace railccl::perftest::railperf
