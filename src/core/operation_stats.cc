#include "src/core/operation_stats.h"

#include <algorithm>
#include <bit>

namespace railccl {

OperationStats::OperationStats(bool predicts)
    : predicted_(predicts ? std::make_unique<PredictedTable>() : nullptr) {}

void OperationStats::add(Collective collective, uint64_t bytes, TimeNs took_ns) {
  Totals& totals = totals_[static_cast<size_t>(collective)];
  totals.operations.add(1);
  totals.bytes.add(bytes);
  totals.took_ns.add(took_ns);
}

void OperationStats::add_predicted(Collective collective, uint64_t bytes, TimeNs took_ns,
                                   TimeNs predicted_ns) {
  if (predicted_ == nullptr) return;
  const auto power = static_cast<size_t>(bytes <= 1 ? 0 : std::bit_width(bytes - 1));
  Predicted& totals = (*predicted_)[static_cast<size_t>(collective)][std::min(power, kSizes - 1)];
  totals.operations.add(1);
  totals.took_ns.add(took_ns);
  totals.predicted_ns.add(predicted_ns);
}

OperationTotals OperationStats::totals(Collective collective) const {
  const Totals& totals = totals_[static_cast<size_t>(collective)];
  return {.operations = totals.operations.get(),
          .bytes = totals.bytes.get(),
          .took_ns = totals.took_ns.get()};
}

std::vector<PredictedTotals> OperationStats::predicted() const {
  std::vector<PredictedTotals> found;
  for (size_t collective = 0; predicted_ && collective < kCountedCollectives; ++collective) {
    for (size_t power = 0; power < kSizes; ++power) {
      const Predicted& totals = (*predicted_)[collective][power];
      if (totals.operations.get() == 0) continue;
      found.push_back({.collective = static_cast<Collective>(collective),
                       .largest_bytes = uint64_t{1} << power,
                       .operations = totals.operations.get(),
                       .took_ns = totals.took_ns.get(),
                       .predicted_ns = totals.predicted_ns.get()});
    }
  }
  return found;
}

}  // namespace railccl
