// What a link does when a rail fails and when it may come back (docs/failover.md): stop, tell,
// fence, verdict, replay; then probes and a new endpoint of the next epoch. Per pair; both sides do
// the same steps, in any order and however often they are told. Internal to the link; same thread.
//
//   fail()                      endpoint closed; RAIL_DOWN told until the peer's verdict is here
//   on_closed()                 fenced here: our verdict goes to the peer
//   FENCED from the peer        + fenced here: its missing messages are sent again
//   verdict from the peer       + fenced here: its missing chunks are sent again; settled
//   set_rail(off)               as fail(), on both sides; settled, it stays down until set_rail(on)
//   settled, after a pause      the lower rank offers a new endpoint, the other answers
//   connected                   probes in order, then the rail rejoins
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/link_messages.h"
#include "transport/link_pair.h"
#include "transport/link_sender.h"
#include "transport/replay_record.h"
#include "transport/wire.h"

namespace railccl {

// How failover talks to the peer; implemented by the link.
class FailoverOut {
 public:
  virtual ~FailoverOut() = default;
  // Over a rail and over the control path; each is enough.
  virtual void send_frame(const wire::Frame& frame, TimeNs now) = 0;
  virtual void send_on_control_path_only(const wire::Frame& frame) = 0;
  // Over one rail that is up; may be lost.
  virtual void send_note(const wire::FencedNote& fenced, TimeNs now) = 0;
  virtual void send_note(const wire::PairEpoch& down, TimeNs now) = 0;
  // A pair changed its state: the last acknowledgement may have been lost with it.
  virtual void acknowledge_again() = 0;
};

class LinkFailover {
 public:
  struct Parts {
    LinkPairs& pairs;
    LinkSender& sender;
    LinkMessages& messages;
    ReplayRecord& record;
    FailoverOut& out;
  };
  LinkFailover(const LinkOptions& options, const Parts& parts);

  // --- What happened.
  void fail(LinkPair& pair, const Status& status, TimeNs now);
  void on_connected(LinkPair& pair, TimeNs now);
  void on_closed(LinkPair& pair, TimeNs now);
  void on_port_up(int local_rail, TimeNs now);
  void on_sign_of_life(TimeNs now);                    // of the peer, over any way
  void set_rail(int local_rail, bool on, TimeNs now);  // Link::set_rail
  void on_completion(LinkPair& pair, TimeNs now);
  void on_echo(LinkPair& pair, uint32_t number, TimeNs now);

  // --- What the peer says. Pair numbers are checked by the caller.
  void on_rail_down(const wire::PairEpoch& rail, TimeNs now);
  void on_fenced(const wire::FencedNote& note);
  void on_verdict(wire::VerdictFrame frame, TimeNs now);
  void on_offer(const wire::OfferFrame& offer);
  void on_answer(const wire::AnswerFrame& answer, TimeNs now);
  void on_switched(const wire::SwitchFrame& change, TimeNs now);

  // Does what is due; true when it did anything. Not from inside a rail's progress.
  bool step(TimeNs now);
  TimeNs next_deadline(TimeNs now) const;
  // When the peer's link last answered a probe; 0: never.
  TimeNs answered_at() const { return echo_at_; }

 private:
  struct Recovery {
    // --- While down: the fence.
    bool was_up = false;   // before it went down
    bool told = false;     // by the peer, which said so or closed its end
    bool settled = false;  // fenced on both sides, verdict applied
    bool messages_fenced = false;
    std::optional<wire::MessagesArrived> peer_arrived;
    std::vector<wire::VerdictFrame> verdict;  // parts; complete when all are there
    TimeNs tell_at = 0;
    TimeNs tell_pause = 0;
    std::optional<uint16_t> answer_due;  // the peer asks for our verdict on this epoch
    // --- While down and settled: the way back.
    TimeNs reconnect_at = 0;
    TimeNs soonest_at = 0;  // where no other rail carries meanwhile
    TimeNs pause = 0;
    std::optional<wire::OfferFrame> offer;
    // --- While probing.
    TimeNs probing_until = 0;
    uint32_t probes_back = 0;
    bool probe_due = false;
    // --- While suspected: silence for so long is a verdict.
    TimeNs patience = 0;
    // --- While up, of a tier that stands by.
    TimeNs standby_probe_at = 0;
    // --- The user's switch, on either side: down and settled, it waits there.
    bool off_here = false;
    bool off_there = false;
    bool off() const { return off_here || off_there; }
  };

  Recovery& recovery(const LinkPair& pair) { return recovery_[static_cast<size_t>(pair.index())]; }
  const Recovery& recovery(const LinkPair& pair) const {
    return recovery_[static_cast<size_t>(pair.index())];
  }
  bool verdict_complete(const Recovery& recovery) const;
  bool step_pair(LinkPair& pair, TimeNs now);
  bool step_down(LinkPair& pair, Recovery& recovery, TimeNs now);
  bool step_health(LinkPair& pair, Recovery& recovery, TimeNs now);
  void heard_after(TimeNs silent_since, TimeNs now);
  TimeNs alive_at(const LinkPair& pair) const;
  TimeNs silent_at(const LinkPair& pair) const;  // when no sign of life is a verdict
  bool probe_standby(LinkPair& pair, Recovery& mine, TimeNs now);
  bool step_unacknowledged(TimeNs now);
  std::string switched_off_text(const Recovery& recovery) const;
  void return_soon(Recovery& recovery, TimeNs now);
  void hold_back(Recovery& recovery, TimeNs now) const;
  TimeNs reconnect_at(const Recovery& recovery) const;
  bool any_may_carry() const;
  void be_patient_with_the_last(Recovery& mine) const;
  void settle(LinkPair& pair, Recovery& recovery, TimeNs now);
  bool answer(LinkPair& pair, Recovery& recovery, TimeNs now);
  bool reconnect(LinkPair& pair, Recovery& recovery, TimeNs now);
  bool open_next(LinkPair& pair, Recovery& recovery, uint16_t epoch, TimeNs now);
  void send_probe(LinkPair& pair, uint32_t number, TimeNs now);
  void apply(LinkPair& pair, HealthEvent event, const Status& why, TimeNs now);
  void log(const LinkPair& pair, std::string_view what) const;

  const LinkOptions& options_;
  Parts parts_;
  std::vector<Recovery> recovery_;
  TimeNs peer_alive_at_ = 0;      // the peer's process
  TimeNs peer_back_at_ = 0;       // it or a NIC of it, after a silence on all ways
  TimeNs peer_nic_alive_at_ = 0;  // one of its NICs, by completions that need no process
  TimeNs echo_at_ = 0;
  TimeNs ping_at_ = 0;
  TimeNs unacknowledged_check_at_ = 0;
  uint32_t verdicts_ = 0;
};

}  // namespace railccl
