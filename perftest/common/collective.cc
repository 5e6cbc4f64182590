#include "perftest/common/collective.h"

namespace railccl::perftest {

Bandwidth bandwidth(const Collective& collective, uint64_t call_bytes, int ranks, double seconds) {
  if (seconds <= 0) return {};
  const double bytes = static_cast<double>(call_bytes) * (collective.moves_total ? ranks : 1);
  const double algorithm = bytes / 1e9 / seconds;
  return {.algorithm = algorithm, .bus = algorithm * collective.bus_factor(ranks)};
}

}  // namespace railccl::perftest
