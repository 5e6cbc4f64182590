#include "perftest/common/collective.h"

namespace railccl::perftest {
namespace {

Layout layout(const Shape& shape) {
  return {.send_count = shape.count, .recv_count = shape.count, .call_count = shape.count};
}

double bus_factor(int) { return 1; }

std::vector<Expected> expected(const Layout& sizes, const Position& position) {
  return {{.from = Expected::From::kRank, .rank = position.root, .count = sizes.recv_count}};
}

ncclResult_t run(const CollectiveCall& call) {
  return ncclBroadcast(call.send, call.recv, call.count, call.type, call.position.root, call.comm,
                       call.stream);
}

constexpr Collective kCollective = {.program = "broadcast_perf",
                                    .rooted = true,
                                    .layout = layout,
                                    .bus_factor = bus_factor,
                                    .expected = expected,
                                    .run = run};

}  // namespace

const Collective& broadcast() { return kCollective; }

}  // namespace railccl::perftest
