#include "transport/rail_health.h"

#include <array>
#include <cstddef>

namespace railccl {
namespace {

using S = RailState;
constexpr bool kProbe = true;
constexpr bool kStop = true;
constexpr HealthStep stay(S state) { return {state}; }
constexpr HealthStep go(S state) { return {state}; }
constexpr HealthStep suspect() { return {S::kSuspect, kProbe}; }
constexpr HealthStep fail() { return {S::kDown, false, kStop}; }

using Row = std::array<HealthStep, kHealthEvents>;
// clang-format off
constexpr std::array<Row, kRailStates> kTable = {{
  //               overdue              alive                silent               failure  reconnect            probes passed        proven
  /* up        */ {suspect(),           stay(S::kUp),        stay(S::kUp),        fail(),  stay(S::kUp),        stay(S::kUp),        stay(S::kUp)},
  /* suspect   */ {stay(S::kSuspect),   go(S::kUp),          fail(),              fail(),  stay(S::kSuspect),   stay(S::kSuspect),   stay(S::kSuspect)},
  /* down      */ {stay(S::kDown),      stay(S::kDown),      stay(S::kDown),      stay(S::kDown), go(S::kProbing), stay(S::kDown),   stay(S::kDown)},
  /* probing   */ {stay(S::kProbing),   stay(S::kProbing),   fail(),              fail(),  stay(S::kProbing),   go(S::kRejoining),   go(S::kUp)},
  /* rejoining */ {suspect(),           stay(S::kRejoining), stay(S::kRejoining), fail(),  stay(S::kRejoining), stay(S::kRejoining), go(S::kUp)},
}};
// clang-format on

}  // namespace

std::string_view rail_state_name(RailState state) {
  constexpr std::array<std::string_view, kRailStates> kNames = {"up", "suspect", "down", "probing",
                                                                "rejoining"};
  const auto index = static_cast<size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::string_view health_event_name(HealthEvent event) {
  constexpr std::array<std::string_view, kHealthEvents> kNames = {
      "overdue", "alive", "silent", "failure", "reconnect", "probes passed", "proven"};
  const auto index = static_cast<size_t>(event);
  return index < kNames.size() ? kNames[index] : "unknown";
}

HealthStep next_health(RailState state, HealthEvent event) {
  return kTable[static_cast<size_t>(state)][static_cast<size_t>(event)];
}

}  // namespace railccl
