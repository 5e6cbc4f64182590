#include "perftest/common/rails.h"

#include <algorithm>
#include <cstring>

namespace railccl::perftest {
namespace {

Outcome<std::vector<railcclRailStats_t>> rails_of(ncclComm_t comm) {
  int count = 0;
  PERFTEST_TRY(check("railcclCommRailStats", railcclCommRailStats(comm, nullptr, 0, &count), comm));
  std::vector<railcclRailStats_t> rails(static_cast<size_t>(count));
  PERFTEST_TRY(
      check("railcclCommRailStats", railcclCommRailStats(comm, rails.data(), count, &count), comm));
  rails.resize(std::min(rails.size(), static_cast<size_t>(count)));
  return rails;
}

}  // namespace

Outcome<std::vector<RankRails>> gather_rails(Crew& crew, int thread, ncclComm_t comm) {
  auto mine = rails_of(comm);
  if (!mine) return tl::unexpected(mine.error());
  const double own_count = static_cast<double>(mine->size());
  const auto counts = crew.all_values(thread, {&own_count, 1});
  if (!counts) return tl::unexpected(counts.error());
  const auto most = static_cast<size_t>(*std::ranges::max_element(*counts));
  mine->resize(most);
  const auto all = crew.all_gather(thread, std::as_bytes(std::span(*mine)));
  if (!all) return tl::unexpected(all.error());
  std::vector<RankRails> ranks(counts->size());
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto count = static_cast<size_t>((*counts)[rank]);
    ranks[rank].rank = static_cast<int>(rank);
    ranks[rank].rails.resize(count);
    if (count == 0) continue;
    std::memcpy(ranks[rank].rails.data(), all->data() + rank * most * sizeof(railcclRailStats_t),
                count * sizeof(railcclRailStats_t));
  }
  return ranks;
}

}  // namespace railccl::perftest
