#include "transport/link_failover.h"

#include <algorithm>
#include <utility>

#include "src/base/log.h"

namespace railccl {
namespace {

constexpr uint32_t kProbesToPass = 3;
constexpr size_t kVerdictPartBytes = 8192;
// A rail that was up for so many pauses has not flapped: the pause begins anew.
constexpr TimeNs kHealthyPauses = 10;
constexpr TimeNs kProbingTimeouts = 4;  // of the patience with the rail
constexpr TimeNs kPatienceOfLink = 4;   // the most patience with a rail: that part of the link's
constexpr TimeNs kProbingOfLink = 2;    // and with probes: a later endpoint may do better
// Between probes of a pair that stands by while the link is in use.
constexpr TimeNs kStandbyProbeNs = kSecond;

TimeNs tell_pause(const LinkOptions& options) {
  return std::clamp(options.rail_timeout_ns / 20, kMillisecond, 100 * kMillisecond);
}

// Puts complete although the peer's process stands still.
bool completed_by_nic(const LinkPair& pair) {
  return pair.info().transport == TransportKind::kVerbs;
}

}  // namespace

LinkFailover::LinkFailover(const LinkOptions& options, const Parts& parts)
    : options_(options), parts_(parts), recovery_(parts.pairs.size()) {
  for (Recovery& recovery : recovery_) {
    recovery.pause = options.probe_pause_ns;
    recovery.patience = options.rail_timeout_ns;
  }
}

void LinkFailover::log(const LinkPair& pair, std::string_view what) const {
  RAILCCL_INFO(Subsys::kNet, "rank {} to rank {}: rail {} ({} to {}), epoch {}: {}", options_.self,
               options_.peer, pair.info().name, pair.local_rail(), pair.peer_rail(), pair.epoch(),
               what);
}

void LinkFailover::apply(LinkPair& pair, HealthEvent event, const Status& why, TimeNs now) {
  const RailState before = pair.state();
  const HealthStep step = pair.on_health(event, now);
  if (step.probe) send_probe(pair, 0, now);
  if (before != pair.state()) {
    pair.trace(TraceKind::kRailState, static_cast<uint64_t>(pair.state()), pair.epoch(), now);
    for (LinkPair& each : parts_.pairs) each.reset_posted();
    parts_.out.acknowledge_again();
  }
  if (before == RailState::kRejoining && pair.state() == RailState::kUp) {
    recovery(pair).patience = options_.rail_timeout_ns;
  }
  if (!step.stop) return;
  pair.note_failure(why, before != RailState::kProbing || pair.epoch() == 0);
  log(pair, "down");
  pair.trace(TraceKind::kFenceBegin, pair.epoch(), 0, now);
  pair.close();
  Recovery& mine = recovery(pair);
  // A rail that did not stay up for long is held back longer than the last time.
  const bool flapped = pair.up_since() != 0 && now - pair.up_since() < kHealthyPauses * mine.pause;
  mine.pause = before == RailState::kProbing || flapped
                   ? std::min(mine.pause * 2, options_.probe_pause_max_ns)
                   : options_.probe_pause_ns;
  mine.was_up = before != RailState::kProbing;
  mine.told = why.code() == Code::kPeerFailed;
  mine.settled = mine.messages_fenced = false;
  mine.peer_arrived.reset();
  mine.verdict.clear();
  mine.tell_at = now;
  mine.tell_pause = tell_pause(options_);
  mine.probe_due = false;
  if (!pair.has_endpoint()) mine.answer_due = pair.epoch();
}

void LinkFailover::fail(LinkPair& pair, const Status& status, TimeNs now) {
  apply(pair, HealthEvent::kFailure, status, now);
}

void LinkFailover::on_connected(LinkPair& pair, TimeNs now) {
  pair.on_connected(now);
  if (!pair.connected()) return;
  if (pair.epoch() == 0) {
    apply(pair, HealthEvent::kProven, Status::ok(), now);
    return;
  }
  Recovery& mine = recovery(pair);
  mine.probes_back = 0;
  mine.probe_due = true;
}

void LinkFailover::on_closed(LinkPair& pair, TimeNs now) {
  pair.on_closed();
  // An endpoint that ends by itself has failed.
  fail(pair, error(Code::kRailFailed, "the endpoint was closed"), now);
  recovery(pair).answer_due = pair.epoch();
}

void LinkFailover::on_port_up(int local_rail, TimeNs now) {
  for (LinkPair& pair : parts_.pairs) {
    if (pair.local_rail() != local_rail) continue;
    Recovery& mine = recovery(pair);
    mine.reconnect_at = std::min(mine.reconnect_at, now + options_.probe_pause_ns);
  }
}

void LinkFailover::set_rail(int local_rail, bool on, TimeNs now) {
  for (LinkPair& pair : parts_.pairs) {
    Recovery& mine = recovery(pair);
    if (pair.local_rail() != local_rail || mine.off_here != on) continue;
    mine.off_here = !on;
    parts_.out.send_on_control_path_only(
        wire::SwitchFrame{.pair = static_cast<uint32_t>(pair.index()), .on = on});
    if (on) return_soon(mine, now);
  }
}

std::string LinkFailover::switched_off_text(const Recovery& mine) const {
  return fmt::format("switched off by rank {}", mine.off_here ? options_.self : options_.peer);
}

void LinkFailover::hold_back(Recovery& mine, TimeNs now) const {
  mine.reconnect_at = now + mine.pause;
  mine.soonest_at = now + std::min(mine.pause, options_.probe_pause_ns);
}

// One that is suspected may do yet.
bool LinkFailover::any_may_carry() const {
  return std::ranges::any_of(parts_.pairs, [](const LinkPair& pair) {
    return pair.state() != RailState::kDown && pair.state() != RailState::kProbing;
  });
}

// A bad rail is better than none.
TimeNs LinkFailover::reconnect_at(const Recovery& mine) const {
  return any_may_carry() ? mine.reconnect_at : std::min(mine.reconnect_at, mine.soonest_at);
}

// Nothing was wrong with it, as far as is known: no pause.
void LinkFailover::return_soon(Recovery& mine, TimeNs now) {
  mine.pause = options_.probe_pause_ns;
  mine.reconnect_at = now;
}

// A peer that was silent on all ways stood still, and maybe its NICs with it: its rails are judged
// by what they do from now on.
void LinkFailover::heard_after(TimeNs silent_since, TimeNs now) {
  if (now - silent_since > options_.rail_timeout_ns / 2) peer_back_at_ = now;
}

void LinkFailover::on_sign_of_life(TimeNs now) {
  heard_after(peer_alive_at_, now);
  peer_alive_at_ = now;
}

TimeNs LinkFailover::silent_at(const LinkPair& pair) const {
  return std::max(pair.life_at() + recovery(pair).patience,
                  peer_back_at_ + options_.rail_timeout_ns);
}

void LinkFailover::on_completion(LinkPair& pair, TimeNs now) {
  if (completed_by_nic(pair)) {
    heard_after(alive_at(pair), now);
    peer_nic_alive_at_ = now;
  } else {
    on_sign_of_life(now);
  }
  apply(pair, HealthEvent::kAlive, Status::ok(), now);
}

void LinkFailover::on_echo(LinkPair& pair, uint32_t number, TimeNs now) {
  echo_at_ = now;
  Recovery& mine = recovery(pair);
  if (pair.state() != RailState::kProbing || number != mine.probes_back + 1) return;
  mine.probes_back = number;
  if (number < kProbesToPass) {
    mine.probe_due = true;
    return;
  }
  apply(pair, HealthEvent::kProbesPassed, Status::ok(), now);
  // It has nothing to carry by which it could prove itself.
  const bool standby = best_tier(parts_.pairs) < pair.tier();
  if (standby) apply(pair, HealthEvent::kProven, Status::ok(), now);
  log(pair, standby ? "back, standing by" : "back, at a low share");
}

void LinkFailover::send_probe(LinkPair& pair, uint32_t number, TimeNs now) {
  const wire::NoteHeader header = pair.header(wire::NoteKind::kProbe, number);
  // Back-pressure means that puts are in flight, whose completion serves as well as the probe's.
  (void)pair.post_note(encode(header), now).is_ok();
}

// --- What is due -------------------------------------------------------------------------------

bool LinkFailover::step(TimeNs now) {
  bool did = step_unacknowledged(now);
  for (LinkPair& pair : parts_.pairs) did |= step_pair(pair, now);
  return did;
}

bool LinkFailover::step_pair(LinkPair& pair, TimeNs now) {
  Recovery& mine = recovery(pair);
  bool did = false;
  if (const Status broken = pair.take_broken(); !broken.is_ok()) {
    fail(pair, broken, now);
    did = true;
  }
  if (mine.off() && pair.state() != RailState::kDown) {
    fail(pair, error(Code::kRailFailed, "{}", switched_off_text(mine)), now);
    did = true;
  }
  did |= answer(pair, mine, now);
  if (pair.state() == RailState::kDown) return step_down(pair, mine, now) || did;
  return step_health(pair, mine, now) || did;
}

bool LinkFailover::step_health(LinkPair& pair, Recovery& mine, TimeNs now) {
  switch (pair.state()) {
    case RailState::kUp:
    case RailState::kRejoining:
      if (now < pair.overdue_at(now)) return probe_standby(pair, mine, now);
      apply(pair, HealthEvent::kOverdue, Status::ok(), now);
      log(pair, "suspect: what is in flight takes much longer than it should");
      return true;
    case RailState::kSuspect:
      if (now >= ping_at_) {
        ping_at_ = now + options_.rail_timeout_ns / 4;
        parts_.out.send_on_control_path_only(wire::PingFrame{});
      }
      if (now < silent_at(pair) || alive_at(pair) <= pair.suspect_since()) return false;
      apply(pair, HealthEvent::kSilent,
            error(Code::kRailFailed, "nothing was delivered for {} ms, and rank {} is alive",
                  mine.patience / kMillisecond, options_.peer),
            now);
      be_patient_with_the_last(mine);
      return true;
    case RailState::kProbing:
      if (std::exchange(mine.probe_due, false)) {
        send_probe(pair, mine.probes_back + 1, now);
        return true;
      }
      if (pair.epoch() == 0 || now < mine.probing_until) return false;
      apply(pair, HealthEvent::kSilent,
            error(Code::kRailFailed, "{} of {} probes of the new endpoint came back",
                  mine.probes_back, kProbesToPass),
            now);
      be_patient_with_the_last(mine);
      return true;
    case RailState::kDown:
      break;
  }
  return false;
}

// The only rail may have become so slow that what is put at once, or what waits there before a
// probe, takes longer than that.
void LinkFailover::be_patient_with_the_last(Recovery& mine) const {
  if (any_may_carry()) return;
  mine.patience = std::max(mine.patience,
                           std::min(2 * mine.patience, options_.link_timeout_ns / kPatienceOfLink));
}

// Silence of a peer that is silent everywhere is no fault of this rail. What needs the peer's
// process to complete proves nothing when only its NIC is known to be alive.
TimeNs LinkFailover::alive_at(const LinkPair& pair) const {
  return completed_by_nic(pair) ? std::max(peer_alive_at_, peer_nic_alive_at_) : peer_alive_at_;
}

// A pair that carries nothing would be found dead only when it is needed. A link at rest is left at
// rest.
bool LinkFailover::probe_standby(LinkPair& pair, Recovery& mine, TimeNs now) {
  if (now < mine.standby_probe_at || pair.waiting()) return false;
  if (parts_.sender.idle() && !parts_.messages.unacknowledged()) return false;
  if (pair.tier() <= best_tier(parts_.pairs)) return false;
  mine.standby_probe_at = now + kStandbyProbeNs;
  send_probe(pair, 0, now);
  return true;
}

// Everything was completed here, but the peer does not say that it has it: its acknowledgement was
// lost, or a NIC acknowledged and died. A probe brings a new acknowledgement or shows the fault.
bool LinkFailover::step_unacknowledged(TimeNs now) {
  const TimeNs patience = options_.rail_timeout_ns / 2;
  if (now < unacknowledged_check_at_ || now < patience) return false;
  unacknowledged_check_at_ = now + patience / 4;
  const bool puts = parts_.sender.unacknowledged_since(now - patience);
  const bool messages = parts_.messages.unacknowledged_since(now - patience);
  if (!puts && !messages) return false;
  uint32_t carriers = (puts ? parts_.sender.oldest_carriers() : 0) |
                      (messages ? parts_.messages.oldest_carrier() : 0);
  if (LinkPair* any = shortest_way(parts_.pairs); carriers == 0 && any != nullptr) {
    carriers = uint32_t{1} << any->index();
  }
  for (LinkPair& pair : parts_.pairs) {
    if ((carriers >> pair.index() & 1) == 0 || pair.waiting()) continue;
    apply(pair, HealthEvent::kOverdue, Status::ok(), now);
  }
  return true;
}

bool LinkFailover::step_down(LinkPair& pair, Recovery& mine, TimeNs now) {
  if (pair.closed() && pair.has_endpoint()) pair.destroy_endpoint();
  if (mine.settled) return reconnect(pair, mine, now);
  bool did = false;
  if (pair.closed() && mine.peer_arrived && !std::exchange(mine.messages_fenced, true)) {
    parts_.messages.on_fenced({.pair = static_cast<uint32_t>(pair.index()), .epoch = pair.epoch()},
                              *mine.peer_arrived);
    did = true;
  }
  if (pair.closed() && verdict_complete(mine)) {
    settle(pair, mine, now);
    return true;
  }
  if (verdict_complete(mine) || now < mine.tell_at) return did;
  mine.tell_at = now + mine.tell_pause;
  mine.tell_pause = std::min(mine.tell_pause * 2, options_.rail_timeout_ns);
  const wire::PairEpoch rail{.pair = static_cast<uint32_t>(pair.index()), .epoch = pair.epoch()};
  parts_.out.send_note(rail, now);
  parts_.out.send_on_control_path_only(wire::RailDownFrame{.rail = rail});
  return true;
}

void LinkFailover::settle(LinkPair& pair, Recovery& mine, TimeNs now) {
  const wire::PairEpoch rail{.pair = static_cast<uint32_t>(pair.index()), .epoch = pair.epoch()};
  const uint64_t landed = parts_.sender.on_verdict(rail, mine.verdict);
  pair.trace(TraceKind::kFenceEnd, pair.epoch(), landed, now);
  mine.settled = true;
  const bool on_purpose = mine.off_here || mine.verdict.front().switched_off;
  if (on_purpose) {
    pair.explain_failure(switched_off_text(mine));
  } else if (const std::string& why = mine.verdict.front().why; mine.told && !why.empty()) {
    pair.explain_failure(fmt::format("rank {} says: {}", options_.peer, why));
  }
  mine.verdict.clear();
  hold_back(mine, now);
  log(pair, "fenced on both sides");
  // Only now: a peer that ends closes its endpoints too, before its goodbye is heard.
  if (!on_purpose && (mine.was_up || pair.epoch() == 0)) {
    RAILCCL_WARN(Subsys::kNet, "{}: rank {} to rank {}: {} without {}", options_.owner,
                 options_.self, options_.peer, mine.was_up ? "went on" : "goes on",
                 pair.describe());
  }
}

bool LinkFailover::answer(LinkPair& pair, Recovery& mine, TimeNs now) {
  if (!mine.answer_due) return false;
  if (*mine.answer_due == pair.epoch() && !pair.closed()) return false;
  const wire::PairEpoch rail{.pair = static_cast<uint32_t>(pair.index()),
                             .epoch = *mine.answer_due};
  mine.answer_due.reset();
  wire::VerdictFrame frame{.rail = rail, .number = ++verdicts_, .switched_off = mine.off_here};
  if (rail.epoch == pair.epoch() && !mine.told) frame.why = pair.last_error();
  frame.puts = parts_.record.whole_puts().puts;
  frame.messages = parts_.messages.arrived();
  std::vector<wire::VerdictFrame> frames(1, frame);
  size_t bytes = 0;
  for (wire::LandedPut& landed : parts_.record.landed()) {
    bytes += landed_bytes(landed);
    if (bytes > kVerdictPartBytes) {
      frames.push_back(frame);
      bytes = landed_bytes(landed);
    }
    frames.back().landed.push_back(std::move(landed));
  }
  // The message stream may wait for what the failed rail lost: this note lets it go on.
  parts_.out.send_note(wire::FencedNote{.rail = rail, .messages = frame.messages}, now);
  for (size_t part = 0; part < frames.size(); ++part) {
    frames[part].part = static_cast<uint16_t>(part);
    frames[part].parts = static_cast<uint16_t>(frames.size());
    parts_.out.send_frame(frames[part], now);
  }
  return true;
}

bool LinkFailover::reconnect(LinkPair& pair, Recovery& mine, TimeNs now) {
  if (mine.off()) return false;
  const uint16_t next = static_cast<uint16_t>(pair.epoch() + 1);
  if (options_.self < options_.peer) {
    if (now < reconnect_at(mine)) return false;
    mine.offer.reset();
    if (!open_next(pair, mine, next, now)) return false;
    const wire::PairEpoch rail{.pair = static_cast<uint32_t>(pair.index()), .epoch = next};
    parts_.out.send_frame(wire::OfferFrame{.rail = rail, .address = pair.address()}, now);
    return true;
  }
  if (!mine.offer || mine.offer->rail.epoch != next) return false;
  const wire::OfferFrame offer = *std::exchange(mine.offer, std::nullopt);
  if (!open_next(pair, mine, next, now)) {
    // Told as down at once, so that the peer need not wait for its own timeout.
    pair.skip_to_epoch(next);
    pair.on_health(HealthEvent::kReconnect, now);
    fail(pair, error(Code::kRailFailed, "no new endpoint can be opened"), now);
    return true;
  }
  parts_.out.send_frame(wire::AnswerFrame{.rail = offer.rail, .address = pair.address()}, now);
  if (Status status = pair.connect(offer.address); !status.is_ok()) fail(pair, status, now);
  return true;
}

bool LinkFailover::open_next(LinkPair& pair, Recovery& mine, uint16_t epoch, TimeNs now) {
  if (Status status = pair.open(epoch); !status.is_ok()) {
    hold_back(mine, now);
    mine.pause = std::min(mine.pause * 2, options_.probe_pause_max_ns);
    return false;
  }
  mine.probing_until = now + std::max(kProbingTimeouts * options_.rail_timeout_ns,
                                      std::min(kProbingTimeouts * mine.patience,
                                               options_.link_timeout_ns / kProbingOfLink));
  mine.probes_back = 0;
  mine.probe_due = false;
  apply(pair, HealthEvent::kReconnect, Status::ok(), now);
  return true;
}

TimeNs LinkFailover::next_deadline(TimeNs now) const {
  TimeNs deadline = kNever;
  for (const LinkPair& pair : parts_.pairs) {
    const Recovery& mine = recovery(pair);
    switch (pair.state()) {
      case RailState::kUp:
      case RailState::kRejoining:
        deadline = std::min(deadline, pair.overdue_at(now));
        break;
      case RailState::kSuspect:
        deadline = std::min({deadline, std::max(silent_at(pair), now + kMillisecond), ping_at_});
        break;
      case RailState::kProbing:
        if (pair.epoch() != 0) deadline = std::min(deadline, mine.probing_until);
        break;
      case RailState::kDown:
        if (!mine.settled) {
          deadline = std::min(deadline, mine.tell_at);
        } else if (!mine.off() && options_.self < options_.peer) {
          deadline = std::min(deadline, reconnect_at(mine));
        }
        break;
    }
  }
  if (!parts_.sender.idle() || parts_.messages.unacknowledged()) {
    deadline =
        std::min(deadline, std::max(unacknowledged_check_at_, now + options_.rail_timeout_ns / 8));
  }
  return deadline;
}

}  // namespace railccl
