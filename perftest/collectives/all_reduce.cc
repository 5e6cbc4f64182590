#include "perftest/common/collective.h"

namespace railccl::perftest {
namespace {

Layout layout(const Shape& shape) {
  return {.send_count = shape.count, .recv_count = shape.count, .call_count = shape.count};
}

// Every element is sent and received 2 (n - 1) / n times by the least a rank can do.
double bus_factor(int ranks) { return 2.0 * (ranks - 1) / ranks; }

std::vector<Expected> expected(const Layout& sizes, const Position&) {
  return {{.from = Expected::From::kReduction, .count = sizes.recv_count}};
}

ncclResult_t run(const CollectiveCall& call) {
  return ncclAllReduce(call.send, call.recv, call.count, call.type, call.op, call.comm,
                       call.stream);
}

constexpr Collective kCollective = {.program = "all_reduce_perf",
                                    .reduces = true,
                                    .layout = layout,
                                    .bus_factor = bus_factor,
                                    .expected = expected,
                                    .run = run};

}  // namespace

const Collective& all_reduce() { return kCollective; }

}  // namespace railccl::perftest
