// One rank's side of the operation under test: issues it, alone or -m times in a group, at places
// of the buffers that change with the iteration, and waits for it. The rank's thread only.
#pragma once

#include <cstdint>

#include "perftest/common/rank_context.h"

namespace railccl::perftest {

class Operation {
 public:
  Operation(const RankContext& context, const TestCase& test, bool in_place);

  const Layout& layout() const { return layout_; }
  const Position& position() const { return position_; }

  // One iteration: -m operations, with the waiting and meeting that -z 1 and 2 ask for.
  Outcome<void> issue_iteration(uint64_t iteration) const;
  // The operation once, at the begin of the buffers.
  Outcome<void> issue_at_begin() const { return issue(0); }
  Outcome<void> wait() const { return context_.memory.wait(context_.comm); }

 private:
  Outcome<void> issue(uint64_t number) const;
  Outcome<void> issue_with(ncclRedOp_t op, uint64_t number) const;
  Outcome<void> issue_group(uint64_t first_number) const;

  const RankContext& context_;
  TestCase test_;
  Layout layout_;
  Position position_;
  Placement placement_;
  size_t element_bytes_;
};

}  // namespace railccl::perftest
