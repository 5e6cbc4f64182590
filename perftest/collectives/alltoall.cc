#include "perftest/common/collective.h"

namespace railccl::perftest {
namespace {

Layout layout(const Shape& shape) {
  const uint64_t block = block_count(shape);
  const uint64_t total = block * static_cast<uint64_t>(shape.ranks);
  return {.send_count = total, .recv_count = total, .call_count = block};
}

double bus_factor(int ranks) { return 1.0 * (ranks - 1) / ranks; }

std::vector<Expected> expected(const Layout& sizes, const Position& position) {
  std::vector<Expected> parts;
  for (int rank = 0; rank < position.ranks; ++rank) {
    parts.push_back({.from = Expected::From::kRank,
                     .rank = rank,
                     .input_begin = sizes.call_count * static_cast<uint64_t>(position.rank),
                     .count = sizes.call_count});
  }
  return parts;
}

ncclResult_t run(const CollectiveCall& call) {
  return ncclAlltoAll(call.send, call.recv, call.count, call.type, call.comm, call.stream);
}

constexpr Collective kCollective = {.program = "alltoall_perf",
                                    .in_place_defined = false,
                                    .moves_total = true,
                                    .layout = layout,
                                    .bus_factor = bus_factor,
                                    .expected = expected,
                                    .run = run};

}  // namespace

const Collective& alltoall() { return kCollective; }

}  // namespace railccl::perftest
