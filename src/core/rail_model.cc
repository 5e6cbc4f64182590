#include "src/core/rail_model.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "src/core/rail_plan.h"

namespace railccl {
namespace {

constexpr double kUnknownRailSpeed = 1.25e9;  // 10 Gbit/s

double seconds_or(TimeNs known, double supposed) {
  return known > 0 ? static_cast<double>(known) / static_cast<double>(kSecond) : supposed;
}

}  // namespace

double supposed_bytes_per_second(const RailInfo& rail) {
  const auto known = static_cast<double>(rail.bytes_per_second);
  return known > 0 ? known : kUnknownRailSpeed;
}

NetworkFacts supposed_network(std::span<const RailInfo> rails) {
  const MachineModel supposed;
  int best = std::numeric_limits<int>::max();
  NetworkFacts facts;
  for (const RailInfo& rail : rails) {
    const int tier = tier_of(rail.transport);
    if (tier > best) continue;
    if (tier < best) facts = {};
    best = tier;
    facts.bytes_per_second += supposed_bytes_per_second(rail);
    facts.latency_s =
        std::max(facts.latency_s, seconds_or(rail.latency_ns, supposed.network_latency_s));
    facts.put_s = std::max(facts.put_s, seconds_or(rail.put_ns, supposed.network_put_s));
  }
  return facts;
}

RailModel::RailModel(RailModelOptions options, const Peers& peers, std::span<Rail* const> rails)
    : options_(std::move(options)),
      peers_(peers),
      rails_(rails),
      watch_(options_.watch, options_.rates[static_cast<size_t>(options_.agreement.rank)]),
      agreement_(options_.agreement) {}

std::vector<RailObservation> RailModel::observe() const {
  std::vector<RailObservation> observations;
  for (const Peers::RailReport& report : peers_.rail_reports()) {
    if (!peers_.connected(report.peer)) continue;
    const LinkRailStats& stats = report.stats;
    const RailInfo& info = rails_[static_cast<size_t>(report.local_rail)]->info();
    observations.push_back(
        {.rail = report.local_rail,
         .peer = report.peer,
         .tier = tier_of(info.transport),
         .up = stats.state != RailState::kDown && stats.state != RailState::kProbing,
         .slow = stats.slow,
         .known_bytes_per_second = supposed_bytes_per_second(info),
         .measured_bytes_per_second = stats.bytes_per_second,
         .bytes_sent = stats.bytes_sent});
  }
  return observations;
}

bool RailModel::progress(TimeNs now, const RailAgreement::Send& send) {
  if (watch_.due(now) && watch_.look(observe(), now)) agreement_.report(watch_.view());
  return agreement_.step(now, send);
}

}  // namespace railccl
