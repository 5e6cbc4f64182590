// Where a rail stands towards one peer, as a transition table. Pure: the link feeds events and does
// what the table asks for.
//
//            overdue            silent, failure
//      Up ------------> Suspect -----------------+
//      ^ ^----alive-------'                      v
//      |                                        Down <---- failure, silent (from every state)
//      |  proven              probes passed      | reconnect
//   Rejoining <------------------------------ Probing
//
// Probing also becomes Up at once with `proven`: the first endpoint of a pair has nothing to prove.
#pragma once

#include <cstdint>
#include <string_view>

namespace railccl {

enum class RailState : uint8_t { kUp, kSuspect, kDown, kProbing, kRejoining };
constexpr int kRailStates = 5;
std::string_view rail_state_name(RailState state);

enum class HealthEvent : uint8_t {
  kOverdue,       // something in flight takes several times as long as it should
  kAlive,         // something was completed
  kSilent,        // nothing was for the rail timeout, and the peer is alive
  kFailure,       // a completion error, a failed endpoint, the port, or the peer says so
  kReconnect,     // fenced on both sides; a new endpoint of the next epoch is opened
  kProbesPassed,  // probes came back in order over the new endpoint
  kProven,        // it delivered its growing share
};
constexpr int kHealthEvents = 7;
std::string_view health_event_name(HealthEvent event);

struct HealthStep {
  RailState next;
  bool probe = false;  // send a probe over the rail
  bool stop = false;   // post nothing more, close the endpoint, tell the peer
};
HealthStep next_health(RailState state, HealthEvent event);

}  // namespace railccl
