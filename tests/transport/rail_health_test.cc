// The transition table, against the same rules written as conditions.
#include "transport/rail_health.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace railccl {
namespace {

using S = RailState;
using E = HealthEvent;

S expected_state(S state, E event) {
  if (event == E::kFailure) return S::kDown;
  if (event == E::kSilent && (state == S::kSuspect || state == S::kProbing)) return S::kDown;
  if (event == E::kOverdue && (state == S::kUp || state == S::kRejoining)) return S::kSuspect;
  if (event == E::kAlive && state == S::kSuspect) return S::kUp;
  if (event == E::kReconnect && state == S::kDown) return S::kProbing;
  if (event == E::kProbesPassed && state == S::kProbing) return S::kRejoining;
  if (event == E::kProven && (state == S::kProbing || state == S::kRejoining)) return S::kUp;
  return state;
}

TEST(RailHealth, EveryTransition) {
  for (int s = 0; s < kRailStates; ++s) {
    for (int e = 0; e < kHealthEvents; ++e) {
      const auto state = static_cast<S>(s);
      const auto event = static_cast<E>(e);
      SCOPED_TRACE(std::string(rail_state_name(state)) + " + " +
                   std::string(health_event_name(event)));
      const HealthStep step = next_health(state, event);
      EXPECT_EQ(step.next, expected_state(state, event));
      // Going down is the only way to stop, and nothing goes down without stopping.
      EXPECT_EQ(step.stop, state != S::kDown && step.next == S::kDown);
      EXPECT_EQ(step.probe, state != S::kSuspect && step.next == S::kSuspect);
    }
  }
}

TEST(RailHealth, OverdueAloneNeverTakesARailDown) {
  S state = S::kUp;
  for (int i = 0; i < 100; ++i) state = next_health(state, E::kOverdue).next;
  EXPECT_EQ(state, S::kSuspect);
}

TEST(RailHealth, DownIsLeftOnlyByReconnecting) {
  for (int e = 0; e < kHealthEvents; ++e) {
    const auto event = static_cast<E>(e);
    EXPECT_EQ(next_health(S::kDown, event).next == S::kDown, event != E::kReconnect);
  }
}

TEST(RailHealth, NamesAreDistinct) {
  std::set<std::string_view> names;
  for (int s = 0; s < kRailStates; ++s) names.insert(rail_state_name(static_cast<S>(s)));
  for (int e = 0; e < kHealthEvents; ++e) names.insert(health_event_name(static_cast<E>(e)));
  EXPECT_EQ(names.size(), static_cast<size_t>(kRailStates + kHealthEvents));
}

}  // namespace
}  // namespace railccl
