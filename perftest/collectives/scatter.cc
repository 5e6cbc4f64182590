#include "perftest/common/collective.h"

namespace railccl::perftest {
namespace {

Layout layout(const Shape& shape) {
  const uint64_t block = block_count(shape);
  return {.send_count = block * static_cast<uint64_t>(shape.ranks),
          .recv_count = block,
          .call_count = block,
          .recv_in_place_offset = block};
}

double bus_factor(int ranks) { return 1.0 * (ranks - 1) / ranks; }

std::vector<Expected> expected(const Layout& sizes, const Position& position) {
  return {{.from = Expected::From::kRank,
           .rank = position.root,
           .input_begin = sizes.recv_count * static_cast<uint64_t>(position.rank),
           .count = sizes.recv_count}};
}

ncclResult_t run(const CollectiveCall& call) {
  return ncclScatter(call.send, call.recv, call.count, call.type, call.position.root, call.comm,
                     call.stream);
}

constexpr Collective kCollective = {.program = "scatter_perf",
                                    .rooted = true,
                                    .moves_total = true,
                                    .layout = layout,
                                    .bus_factor = bus_factor,
                                    .expected = expected,
                                    .run = run};

}  // namespace

const Collective& scatter() { return kCollective; }

}  // namespace railccl::perftest
