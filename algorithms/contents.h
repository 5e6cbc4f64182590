// The verifier's memory: what every element of every rank's buffers holds, while one piece is
// played, and what the outputs must hold at the end. Pure; used by verifier.cc only.
#pragma once

#include <vector>

#include "algorithms/expressions.h"
#include "algorithms/run_map.h"
#include "algorithms/verifier.h"

namespace railccl::algorithms {

class Contents {
 public:
  explicit Contents(const ScheduleSet& set);

  // A step with data, of a structure that was verified. Errors: undefined sources, sources of
  // different elements, double contributions, a wrong final flag.
  Status apply(int rank, const Step& step);
  // The postcondition.
  Status check_outputs();

 private:
  // An element at offset x is an expression over the elements x + shift of the inputs.
  struct Value {
    uint32_t expression = Expressions::kUndefined;
    int64_t shift = 0;
    bool operator==(const Value&) const = default;
  };
  struct Run {
    uint64_t begin = 0;  // within the step
    uint64_t end = 0;
    Value value;  // shift relative to the step
  };
  using Runs = std::vector<Run>;

  RunMap<Value>& memory(int owner, BufferId buffer);
  Result<Runs> read(int owner, Slice slice, uint64_t count);
  void write(int owner, Slice slice, const Runs& runs);
  Result<Runs> combine(const std::vector<Runs>& sources, const Step& step);
  Result<Value> combine_at(const std::vector<Runs>& sources, const std::vector<size_t>& at,
                           const Step& step);
  Status check_run(int rank, uint64_t begin, uint64_t end, const Value& value);
  Status check_reduced(int rank, uint64_t begin, uint64_t end, const Value& value, uint64_t source);

  const ScheduleSet& set_;
  Expressions expressions_;
  std::vector<RunMap<Value>> memories_;  // 3 per rank, by BufferId
  RunMap<uint32_t> agreed_{0};           // AllReduce: the expression of rank 0's output
};

}  // namespace railccl::algorithms
