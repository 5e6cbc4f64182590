#include "perftest/common/collective.h"

namespace railccl::perftest {
namespace {

// A ring: every rank sends to the next and receives from the one before.
int next(const Position& position) { return (position.rank + 1) % position.ranks; }
int previous(const Position& position) {
  return (position.rank + position.ranks - 1) % position.ranks;
}

Layout layout(const Shape& shape) {
  return {.send_count = shape.count, .recv_count = shape.count, .call_count = shape.count};
}

double bus_factor(int) { return 1; }

std::vector<Expected> expected(const Layout& sizes, const Position& position) {
  return {{.from = Expected::From::kRank, .rank = previous(position), .count = sizes.recv_count}};
}

ncclResult_t run(const CollectiveCall& call) {
  const Position& position = call.position;
  ncclResult_t first = ncclGroupStart();
  const auto also = [&first](ncclResult_t result) {
    if (first == ncclSuccess) first = result;
  };
  also(ncclSend(call.send, call.count, call.type, next(position), call.comm, call.stream));
  also(ncclRecv(call.recv, call.count, call.type, previous(position), call.comm, call.stream));
  also(ncclGroupEnd());
  return first;
}

constexpr Collective kCollective = {.program = "sendrecv_perf",
                                    .in_place_defined = false,
                                    .layout = layout,
                                    .bus_factor = bus_factor,
                                    .expected = expected,
                                    .run = run};

}  // namespace

const Collective& sendrecv() { return kCollective; }

}  // namespace railccl::perftest
