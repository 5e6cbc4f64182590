#include "perftest/common/operation.h"

#include <algorithm>
#include <array>

#include "perftest/common/pattern.h"

namespace railccl::perftest {

Operation::Operation(const RankContext& context, const TestCase& test, bool in_place)
    : context_(context),
      test_(test),
      layout_(context.collective.layout({.count = test.bytes / type_info(test.type).bytes,
                                         .element_bytes = type_info(test.type).bytes,
                                         .ranks = context.crew.ranks()})),
      position_{.rank = context.rank, .ranks = context.crew.ranks(), .root = test.root},
      placement_(place(layout_, context.rank, in_place && context.collective.in_place_defined)),
      element_bytes_(type_info(test.type).bytes) {}

Outcome<void> Operation::issue_iteration(uint64_t iteration) const {
  const auto aggregated = static_cast<uint64_t>(context_.options.aggregated);
  if (aggregated > 1) {
    PERFTEST_TRY(issue_group(iteration * aggregated));
  } else {
    PERFTEST_TRY(issue(iteration));
  }
  const Blocking blocking = context_.options.blocking;
  if (blocking == Blocking::kBarrier || blocking == Blocking::kWait) PERFTEST_TRY(wait());
  if (blocking == Blocking::kBarrier) PERFTEST_TRY(context_.crew.barrier(context_.thread));
  return {};
}

Outcome<void> Operation::issue_group(uint64_t first_number) const {
  PERFTEST_TRY(check("ncclGroupStart", ncclGroupStart()));
  Outcome<void> issued;
  for (int i = 0; issued && i < context_.options.aggregated; ++i) {
    issued = issue(first_number + static_cast<uint64_t>(i));
  }
  const auto ended = check("ncclGroupEnd", ncclGroupEnd(), context_.comm);
  return issued ? ended : issued;
}

Outcome<void> Operation::issue(uint64_t number) const {
  if (context_.crew.given_up()) return failure(Exit::kLibrary, "another rank here failed");
  if (!context_.collective.reduces || test_.op != Operator::kMulSum) {
    return issue_with(operator_info(test_.op).nccl, number);
  }
  std::array<std::byte, 8> scalar{};
  Pattern({.type = test_.type, .op = test_.op, .ranks = position_.ranks})
      .scalar(position_.rank, scalar.data());
  ncclRedOp_t op = ncclSum;
  PERFTEST_TRY(check("ncclRedOpCreatePreMulSum",
                     ncclRedOpCreatePreMulSum(&op, scalar.data(), test_.type,
                                              ncclScalarHostImmediate, context_.comm),
                     context_.comm));
  const auto issued = issue_with(op, number);
  const auto destroyed =
      check("ncclRedOpDestroy", ncclRedOpDestroy(op, context_.comm), context_.comm);
  return issued ? destroyed : issued;
}

Outcome<void> Operation::issue_with(ncclRedOp_t op, uint64_t number) const {
  // Other memory in every iteration as far as there is some, against flattering caches.
  const uint64_t bytes = std::max(layout_.send_count, layout_.recv_count) * element_bytes_;
  const uint64_t places = bytes > 0 ? context_.options.sizes.max_bytes / bytes : 1;
  const uint64_t shift = bytes * (number % std::max<uint64_t>(places, 1));
  const std::byte* send = placement_.in_place ? context_.buffers.recv : context_.buffers.send;
  const ncclResult_t result = context_.collective.run(
      {.send = send + shift + placement_.send_offset * element_bytes_,
       .recv = context_.buffers.recv + shift + placement_.recv_offset * element_bytes_,
       .count = layout_.call_count,
       .type = test_.type,
       .op = op,
       .position = position_,
       .comm = context_.comm,
       .stream = context_.memory.stream()});
  return check(context_.collective.program, result, context_.comm);
}

}  // namespace railccl::perftest
