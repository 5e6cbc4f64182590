// Communicator: its rails: what the ranks agree on about them, what follows from it, what they did
// (see communicator.h).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "src/base/log.h"
#include "src/base/trace.h"
#include "src/core/communicator.h"
#include "src/core/rank_tree.h"

namespace railccl {

// Over the tree of the control path, whose connections are there already.
std::unique_ptr<RailModel> Communicator::make_rail_model() {
  const boot::RankTree tree(ranks(), std::min(ranks(), parts_.roots));
  RailModelOptions options{.agreement = {.rank = rank_,
                                         .ranks = ranks(),
                                         .parent = tree.parent(rank_),
                                         .children = tree.children(rank_)},
                           .watch = {},
                           .at_start = parts_.machine,
                           .rates = parts_.network_rates};
  return std::make_unique<RailModel>(std::move(options), *peers_, engine_.rails());
}

// While the ranks agree on a change of rails, none begins what another may run on other terms. One
// whose process has ended agrees to nothing any more; what it has begun was agreed on before, and
// the rest ends for its absence.
bool Communicator::may_start(TimeNs now) {
  if (!rail_model_ || somebody_exited_ || rail_model_->may_begin(sequence_ + 1)) {
    held_since_ = 0;
    return true;
  }
  if (held_since_ == 0) held_since_ = now;
  if (now < held_since_ + hold_timeout()) return false;
  set_error(
      railccl::error(Code::kTimeout,
                     "rank {} waited {} s with operation {} for the other ranks to agree on a "
                     "change of rails ({}); is a process stopped, did a rank leave early? "
                     "RAILCCL_RETUNE=off does without such agreements",
                     rank_, hold_timeout() / kSecond, sequence_ + 1, rail_model_->describe()),
      true);
  return false;
}

bool Communicator::progress_rail_model(TimeNs now) {
  return rail_model_->progress(now, [this](int to, std::span<const std::byte> message) {
    std::vector<std::byte> tagged(message.size() + 1);
    tagged[0] = static_cast<std::byte>(CommMessage::kRails);
    std::copy(message.begin(), message.end(), tagged.begin() + 1);
    // Who cannot be reached is lost, which ends the communicator.
    static_cast<void>(control_->send(to, tagged));
  });
}

void Communicator::adopt_rail_picture() {
  const RailPicture& picture = rail_model_->picture();
  plans_->set_machine(rail_model_->machine());
  trace_at(clock_, {.kind = TraceKind::kRailPicture,
                    .source = parts_.trace_source,
                    .a = picture.version,
                    .b = picture.from_operation});
  RAILCCL_INFO(Subsys::kTuning, "communicator {}: rank {}: rails, {}", parts_.name, rank_,
               to_string(picture));
}

Result<Decision> Communicator::explain(const Call& call) const {
  const DriverLock held(engine_);
  return decide(call, plans_->inputs());
}

bool Communicator::choice_is_kept(const Call& call) const {
  return railccl::choice_is_kept(call, plans_->inputs());
}

Communicator::RailsInForce Communicator::rails_in_force() const {
  const DriverLock held(engine_);
  return {.picture = rail_model_ ? rail_model_->picture() : RailPicture{},
          .machine = plans_->inputs().machine};
}

std::vector<Peers::RailReport> Communicator::rail_reports() const {
  const DriverLock held(engine_);
  return peers_ ? peers_->rail_reports() : std::vector<Peers::RailReport>{};
}

}  // namespace railccl
