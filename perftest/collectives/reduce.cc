#include "perftest/common/collective.h"

namespace railccl::perftest {
namespace {

Layout layout(const Shape& shape) {
  return {.send_count = shape.count, .recv_count = shape.count, .call_count = shape.count};
}

double bus_factor(int) { return 1; }

// Elsewhere than on root the output buffer is not the call's to write.
std::vector<Expected> expected(const Layout& sizes, const Position& position) {
  const bool is_root = position.rank == position.root;
  return {{.from = is_root ? Expected::From::kReduction : Expected::From::kUntouched,
           .count = sizes.recv_count}};
}

ncclResult_t run(const CollectiveCall& call) {
  return ncclReduce(call.send, call.recv, call.count, call.type, call.op, call.position.root,
                    call.comm, call.stream);
}

constexpr Collective kCollective = {.program = "reduce_perf",
                                    .reduces = true,
                                    .rooted = true,
                                    .layout = layout,
                                    .bus_factor = bus_factor,
                                    .expected = expected,
                                    .run = run};

}  // namespace

const Collective& reduce() { return kCollective; }

}  // namespace railccl::perftest
