#include "perftest/common/sweep.h"

#include <algorithm>

#include "perftest/common/measure.h"

namespace railccl::perftest {
namespace {

SizeResult described(const RankContext& context, const TestCase& test) {
  const TypeInfo& type = type_info(test.type);
  const Layout layout = context.collective.layout({.count = test.bytes / type.bytes,
                                                   .element_bytes = type.bytes,
                                                   .ranks = context.crew.ranks()});
  SizeResult result;
  result.bytes = std::max(layout.send_count, layout.recv_count) * type.bytes;
  result.count = layout.call_count;
  result.type = type.name;
  result.op = context.collective.reduces ? operator_info(test.op).name : "none";
  result.root = context.collective.rooted ? test.root : -1;
  return result;
}

class Sweep {
 public:
  Sweep(const RankContext& context, Reporter* reporter) : context_(context), reporter_(reporter) {}

  Outcome<SweepTotals> run() {
    for (TestCase test : test_cases(context_.options, context_.collective, context_.crew.ranks())) {
      // -u counts elements, so that the buffers begin elsewhere for each type.
      RankContext context = context_;
      const size_t shift =
          static_cast<size_t>(context_.options.unalign) * type_info(test.type).bytes;
      context.buffers.send += shift;
      context.buffers.recv += shift;
      PERFTEST_TRY(run_case(context, test));
    }
    return totals_;
  }

 private:
  Outcome<void> run_case(const RankContext& context, TestCase test) {
    PERFTEST_TRY(context.crew.barrier(context.thread));
    for (const uint64_t bytes : warmup_sequence(context.options.sizes)) {
      test.bytes = bytes;
      PERFTEST_TRY(warm_up(context, test));
    }
    const int cycles = context.options.run_cycles;
    for (int cycle = 0; cycles == 0 || cycle < cycles; ++cycle) {
      for (const uint64_t bytes : size_sequence(context.options.sizes)) {
        test.bytes = bytes;
        PERFTEST_TRY(run_size(context, test));
      }
    }
    return {};
  }

  Outcome<void> run_size(const RankContext& context, const TestCase& test) {
    SizeResult result = described(context, test);
    if (reporter_ != nullptr) reporter_->begin_result(result);
    for (const bool in_place : {false, true}) {
      const auto measured = measure(context, test, in_place, ++repetition_);
      if (!measured) return tl::unexpected(measured.error());
      (in_place ? result.in_place : result.out_of_place) = measured->result;
      result.iterations = measured->iterations;
      totals_.bus_bandwidth_sum += measured->result.bus_bandwidth;
      totals_.failed_measurements += measured->failed_ranks;
      ++totals_.measurements;
      if (reporter_ != nullptr) reporter_->placement(measured->result);
    }
    if (reporter_ != nullptr) reporter_->end_result(result);
    return {};
  }

  const RankContext& context_;
  Reporter* reporter_;
  SweepTotals totals_;
  uint64_t repetition_ = 0;
};

}  // namespace

std::vector<TestCase> test_cases(const Options& options, const Collective& collective, int ranks) {
  const std::vector<Operator> operators =
      collective.reduces ? options.operators : std::vector<Operator>{Operator::kSum};
  const bool every_root = collective.rooted && options.root < 0;
  const int first_root = collective.rooted && !every_root ? options.root : 0;
  const int last_root = every_root ? ranks - 1 : first_root;
  std::vector<TestCase> cases;
  for (const ncclDataType_t type : options.types) {
    for (const Operator op : operators) {
      for (int root = first_root; root <= last_root; ++root) {
        cases.push_back({.type = type, .op = op, .root = root});
      }
    }
  }
  return cases;
}

Outcome<SweepTotals> sweep(const RankContext& context, Reporter* reporter) {
  return Sweep(context, reporter).run();
}

}  // namespace railccl::perftest
