#include "perftest/common/collective.h"

namespace railccl::perftest {
namespace {

Layout layout(const Shape& shape) {
  const uint64_t block = block_count(shape);
  return {.send_count = block,
          .recv_count = block * static_cast<uint64_t>(shape.ranks),
          .call_count = block,
          .send_in_place_offset = block};
}

double bus_factor(int ranks) { return 1.0 * (ranks - 1) / ranks; }

// Elsewhere than on root the output buffer is not the call's to write.
std::vector<Expected> expected(const Layout& sizes, const Position& position) {
  if (position.rank != position.root) {
    return {{.from = Expected::From::kUntouched, .count = sizes.recv_count}};
  }
  std::vector<Expected> parts;
  for (int rank = 0; rank < position.ranks; ++rank) {
    parts.push_back({.from = Expected::From::kRank, .rank = rank, .count = sizes.send_count});
  }
  return parts;
}

ncclResult_t run(const CollectiveCall& call) {
  return ncclGather(call.send, call.recv, call.count, call.type, call.position.root, call.comm,
                    call.stream);
}

constexpr Collective kCollective = {.program = "gather_perf",
                                    .rooted = true,
                                    .moves_total = true,
                                    .layout = layout,
                                    .bus_factor = bus_factor,
                                    .expected = expected,
                                    .run = run};

}  // namespace

const Collective& gather() { return kCollective; }

}  // namespace railccl::perftest
