#include "src/core/rail_totals.h"

#include <algorithm>

namespace railccl {
namespace {

int badness(RailState state) {
  switch (state) {
    case RailState::kUp:
      return 0;
    case RailState::kRejoining:
      return 1;
    case RailState::kSuspect:
      return 2;
    case RailState::kProbing:
      return 3;
    case RailState::kDown:
      break;
  }
  return 4;
}

void add(LinkRailStats& sum, const LinkRailStats& stats) {
  sum.bytes_sent += stats.bytes_sent + stats.message_bytes_sent;
  sum.bytes_received += stats.bytes_received + stats.message_bytes_received;
  sum.chunks_sent += stats.chunks_sent;
  sum.replayed_bytes += stats.replayed_bytes;
  sum.failures += stats.failures;
  sum.recoveries += stats.recoveries;
  sum.stall_ns_max = std::max(sum.stall_ns_max, stats.stall_ns_max);
  sum.slow = sum.slow || stats.slow;
  sum.bytes_per_second = std::max(sum.bytes_per_second, stats.bytes_per_second);
  sum.latency_us = std::max(sum.latency_us, stats.latency_us);
  sum.standby = sum.standby && stats.standby;
  if (badness(stats.state) > badness(sum.state)) sum.state = stats.state;
}

}  // namespace

std::map<int, RailTotals> rail_totals(std::span<const Peers::RailReport> reports) {
  std::map<int, RailTotals> totals;
  for (const Peers::RailReport& report : reports) {
    const auto [entry, is_new] = totals.try_emplace(report.local_rail);
    if (is_new) {
      entry->second.sum.state = RailState::kUp;
      entry->second.sum.standby = true;
    }
    add(entry->second.sum, report.stats);
  }
  return totals;
}

}  // namespace railccl
