// LinkFailover: what the peer says (see link_failover.h).
#include <algorithm>
#include <utility>

#include "transport/link_failover.h"

namespace railccl {

void LinkFailover::on_rail_down(const wire::PairEpoch& rail, TimeNs now) {
  LinkPair& pair = parts_.pairs[rail.pair];
  Recovery& mine = recovery(pair);
  const auto ahead = static_cast<int16_t>(rail.epoch - pair.epoch());
  if (ahead < 0) {
    mine.answer_due = rail.epoch;
    return;
  }
  if (ahead == 0) {
    if (pair.state() != RailState::kDown) {
      fail(pair, error(Code::kPeerFailed, "rank {} says that the rail is down", options_.peer),
           now);
    }
    if (pair.closed()) mine.answer_due = rail.epoch;
    return;
  }
  // The peer opened an epoch and lost it before this side heard of it: there is nothing to fence.
  if (pair.state() != RailState::kDown || !mine.settled) return;
  pair.skip_to_epoch(rail.epoch);
  mine.offer.reset();
  mine.answer_due = rail.epoch;
}

void LinkFailover::on_fenced(const wire::FencedNote& note) {
  LinkPair& pair = parts_.pairs[note.rail.pair];
  Recovery& mine = recovery(pair);
  if (pair.state() != RailState::kDown || mine.settled || note.rail.epoch != pair.epoch()) return;
  if (!mine.peer_arrived) mine.peer_arrived = note.messages;
}

void LinkFailover::on_verdict(wire::VerdictFrame frame, TimeNs now) {
  LinkPair& pair = parts_.pairs[frame.rail.pair];
  if (frame.rail.epoch == pair.epoch() && pair.state() != RailState::kDown) {
    on_rail_down(frame.rail, now);
  }
  Recovery& mine = recovery(pair);
  if (pair.state() != RailState::kDown || mine.settled || frame.rail.epoch != pair.epoch()) return;
  on_fenced({.rail = frame.rail, .messages = frame.messages});
  if (verdict_complete(mine)) return;
  if (!mine.verdict.empty()) {
    const auto newer = static_cast<int32_t>(frame.number - mine.verdict.front().number);
    if (newer < 0) return;
    if (newer > 0) mine.verdict.clear();
  }
  const bool known =
      std::any_of(mine.verdict.begin(), mine.verdict.end(),
                  [&](const wire::VerdictFrame& part) { return part.part == frame.part; });
  if (!known && frame.part < frame.parts) mine.verdict.push_back(std::move(frame));
}

bool LinkFailover::verdict_complete(const Recovery& recovery) const {
  return !recovery.verdict.empty() && recovery.verdict.size() == recovery.verdict.front().parts;
}

void LinkFailover::on_offer(const wire::OfferFrame& offer) {
  if (options_.self < options_.peer) return;
  std::optional<wire::OfferFrame>& latest = recovery_[offer.rail.pair].offer;
  // Frames come over two ways; one that was overtaken is no offer any more.
  if (latest && static_cast<int16_t>(offer.rail.epoch - latest->rail.epoch) < 0) return;
  latest = offer;
}

void LinkFailover::on_answer(const wire::AnswerFrame& answer, TimeNs now) {
  LinkPair& pair = parts_.pairs[answer.rail.pair];
  Recovery& mine = recovery(pair);
  if (options_.self > options_.peer || pair.state() != RailState::kProbing ||
      answer.rail.epoch != pair.epoch() || mine.offer) {
    return;
  }
  mine.offer = wire::OfferFrame{.rail = answer.rail, .address = answer.address};
  if (Status status = pair.connect(answer.address); !status.is_ok()) fail(pair, status, now);
}

void LinkFailover::on_switched(const wire::SwitchFrame& change, TimeNs now) {
  Recovery& mine = recovery_[change.pair];
  mine.off_there = !change.on;
  if (change.on) return_soon(mine, now);
}

}  // namespace railccl
