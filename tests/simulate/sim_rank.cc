#include "tests/simulate/sim_rank.h"

#include <algorithm>
#include <map>
#include <utility>

#include "src/compute/compute.h"

namespace railccl::simulate {
namespace {

constexpr uint64_t kTagsPerLink = 256;
constexpr TimeNs kCloseAfterError = kSecond;  // as the communicator's

size_t largest(const Script& script, uint64_t (*bytes)(const Call&, int, int), int rank) {
  uint64_t most = 1;
  for (size_t i = 0; i < script.workload.operations.size(); ++i) {
    most = std::max(most, bytes(script.workload.call(i), rank, script.workload.ranks));
  }
  return most;
}

}  // namespace

uint64_t local_scratch_bytes(const Workload& workload) {
  std::map<int, int> ranks_of;
  int most = 0;
  for (const int node : workload.nodes) most = std::max(most, ++ranks_of[node]);
  return p2p_scratch_bytes(most) + workload.scratch_bytes;
}

SimRank::SimRank(SimRankParts parts)
    : parts_(std::move(parts)),
      workload_(parts_.script->workload),
      scratch_(std::make_unique_for_overwrite<std::byte[]>(
          parts_.local != nullptr ? 0 : workload_.scratch_bytes)),
      input_(largest(*parts_.script, input_bytes, parts_.rank)),
      output_(largest(*parts_.script, output_bytes, parts_.rank)),
      rail_memory_(*this),
      inboxes_(static_cast<size_t>(workload_.ranks)),
      goodbyes_(static_cast<size_t>(workload_.ranks)),
      old_epochs_(static_cast<size_t>(workload_.ranks)) {
  for (const auto& rail : parts_.rails) rail_pointers_.push_back(rail.get());
  auto scratch = rail_memory_.acquire(scratch_view().own, workload_.scratch_bytes);
  if (!scratch) parts_.judge->violation(0, "scratch: {}", scratch.error().message());
  scratch_memory_ = std::move(*scratch);
  if (workload_.keep_registered) {
    (void)rail_memory_.keep(input_.data(), input_.size()).is_ok();
    (void)rail_memory_.keep(output_.data(), output_.size()).is_ok();
  }
  parts_.watch->add_buffer(input_.data(), input_.size(), parts_.rank);
  parts_.watch->add_buffer(output_.data(), output_.size(), parts_.rank);
  const PeersOptions options{.rank = parts_.rank,
                             .link = workload_.link,
                             .cross = workload_.cross,
                             .credit_bytes = workload_.credit_bytes};
  RailHost& host = *this;
  PeersObserver& observer = *this;
  peers_ = std::make_unique<Peers>(options, host, parts_.script->nodes, scratch_memory_.get(),
                                   inboxes_, observer);
  executor_ = std::make_unique<Executor>(services());
  p2p_ = std::make_unique<P2p>(services());
}

ScratchView SimRank::scratch_view() const {
  LocalDomain* local = parts_.local.get();
  ScratchView view{.own = scratch_.get(), .bytes = workload_.scratch_bytes};
  if (local == nullptr) return view;
  view.local = local;
  view.skip = local_scratch_bytes(workload_) - workload_.scratch_bytes;
  view.own = view.of(parts_.script->layout->local_index[static_cast<size_t>(parts_.rank)]);
  return view;
}

ExecutorServices SimRank::services() {
  return {.rank = parts_.rank,
          .layout = parts_.script->layout,
          .local = parts_.local.get(),
          .peers = peers_.get(),
          .inboxes = &inboxes_,
          .compute = &host_compute(),
          .rail_memory = &rail_memory_,
          .scratch = scratch_view(),
          .scratch_memory = scratch_memory_.get(),
          .direct = workload_.direct,
          .eager_bytes = workload_.eager_bytes,
          .streaming_bytes = ~uint64_t{0}};
}

SimRank::~SimRank() {
  rail_model_.reset();
  p2p_.reset();
  executor_.reset();
  peers_.reset();
  scratch_memory_.reset();
  rail_memory_.clear();
}

// --- RailHost, EventSink -------------------------------------------------------------------------

uint64_t SimRank::add_endpoint_sink(EndpointEventSink* sink) {
  sinks_.push_back(sink);
  return (sinks_.size() - 1) * kTagsPerLink;
}

void SimRank::remove_endpoint_sink(uint64_t tag_base) { sinks_[tag_base / kTagsPerLink] = nullptr; }

void SimRank::on_event(const RailEvent& event) {
  if (event.kind == RailEvent::Kind::kRailDown || event.kind == RailEvent::Kind::kRailUp) {
    for (EndpointEventSink* sink : sinks_) {
      if (sink != nullptr) sink->on_port_event(current_rail_, event, now_);
    }
    return;
  }
  EndpointEventSink* sink = sinks_[event.endpoint_tag / kTagsPerLink];
  const auto pair = static_cast<int>(event.endpoint_tag % kTagsPerLink);
  if (sink != nullptr) sink->on_endpoint_event(pair, event, now_);
}

void SimRank::on_local_notification(int index, uint64_t tag) {
  const Layout& layout = *parts_.script->layout;
  const auto node = static_cast<size_t>(layout.node_of[static_cast<size_t>(parts_.rank)]);
  const int peer = layout.ranks_of[node][static_cast<size_t>(index)];
  inboxes_[static_cast<size_t>(peer)].add_notification(tag);
}

// --- PeersObserver -------------------------------------------------------------------------------

void SimRank::on_put_done(uint64_t token, const Status& status) {
  if (!status.is_ok() || stage_ != Stage::kRun) return;
  if ((token & kP2pToken) != 0) {
    p2p_->on_put_done(token);
  } else if (!is_pairwise()) {
    executor_->on_put_done(token);
  }
}

bool SimRank::a_rail_is_down() const {
  const auto reports = peers_->rail_reports();
  return std::any_of(reports.begin(), reports.end(), [](const Peers::RailReport& report) {
    return report.stats.state == RailState::kDown;
  });
}

bool SimRank::on_small_data(int peer, const MessageHeader& header,
                            std::span<const std::byte> body) {
  const bool for_executor = stage_ == Stage::kRun && !is_pairwise();
  if (!for_executor || header.type != MessageType::kData) return false;
  const Status same = executor_->check(peer, header.sequence, header.fingerprint);
  if (!same) {
    set_error(same, true);
    return true;
  }
  if (parts_.defect == Defect::kCreditLost && body.empty() && !credit_was_lost_ &&
      a_rail_is_down()) {
    credit_was_lost_ = true;
    return true;
  }
  return executor_->on_small_data(peer, header, body);
}

void SimRank::abort() {
  set_error(Status(Code::kAborted, fmt::format("rank {} aborted", parts_.rank)), true);
}

// --- Progress ------------------------------------------------------------------------------------

bool SimRank::progress_rails(TimeNs now) {
  bool did = false;
  for (size_t i = 0; i < rail_pointers_.size(); ++i) {
    current_rail_ = static_cast<int>(i);
    did |= rail_pointers_[i]->progress(now, *this);
  }
  return did;
}

bool SimRank::progress(TimeNs now) {
  if (ended()) return false;
  now_ = now;
  if (stage_ == Stage::kArrive) {
    if (!error_.is_ok()) {  // aborted before it had begun
      stage_ = Stage::kEnded;
      parts_.observer->on_process_end(parts_.rank);
    }
    if (ended() || now < workload_.arrival[static_cast<size_t>(parts_.rank)]) return ended();
    arrive(now);
    return true;
  }
  bool did = progress_rails(now);
  did |= progress_control(now);
  did |= peers_->progress(now);
  if (!error_.is_ok()) return end_with_error(now) || did;
  if (parts_.local != nullptr) did |= parts_.local->poll(*this);
  return step(now) || did;
}

bool SimRank::step(TimeNs now) {
  switch (stage_) {
    case Stage::kMeet:
      return step_meeting(now);
    case Stage::kAgree:
      return step_agreement(now);
    case Stage::kPause:
      return begin_operation(now);
    case Stage::kRun: {
      const Result<bool> moved = step_operation(now);
      if (!moved) set_error(moved.error(), true);
      return !moved || *moved;
    }
    case Stage::kGoodbye:
      return step_goodbye(now);
    case Stage::kClosing:
      if (!peers_->closed()) return false;
      part(now);
      return true;
    case Stage::kParting:
      return step_parting(now);
    case Stage::kArrive:
    case Stage::kEnded:
      return false;
  }
  return false;
}

bool SimRank::end_with_error(TimeNs now) {
  if (stage_ == Stage::kParting) return step_parting(now);
  if (stage_ != Stage::kClosing) {
    const bool running = stage_ == Stage::kRun;
    stage_ = Stage::kClosing;
    if (reports_.empty()) reports_ = peers_->rail_reports();
    peers_->close(error_, now);
    close_deadline_ = now + kCloseAfterError;
    if (!running) call_.output = nullptr;
    return true;
  }
  if (!peers_->closed() && now < close_deadline_) return false;
  if (!peers_->closed()) {
    parts_.judge->violation(now, "rank {}: links do not close after an error", parts_.rank);
  }
  executor_->abandon();
  (void)p2p_->abandon();
  if (call_.output != nullptr) parts_.watch->open_buffer(call_.output, false);
  part(now);
  return true;
}

void SimRank::set_error(const Status& status, bool announce) {
  if (!error_.is_ok() || ended()) return;
  error_ = status;
  announce_ = announce;
}

TimeNs SimRank::next_deadline(TimeNs now) const {
  if (ended()) return kNever;
  if (stage_ == Stage::kArrive) {
    return error_.is_ok() ? workload_.arrival[static_cast<size_t>(parts_.rank)] : now;
  }
  TimeNs deadline = std::min(peers_->next_deadline(), control_->next_deadline());
  if (rail_model_ && error_.is_ok()) deadline = std::min(deadline, rail_model_->next_deadline());
  if (stage_ == Stage::kPause) deadline = std::min(deadline, pause_until_);
  if (close_deadline_ != 0) deadline = std::min(deadline, close_deadline_);
  return announce_ ? now : deadline;
}

uint64_t SimRank::bytes_received_from(int peer) const {
  uint64_t bytes = 0;
  for (const Peers::RailReport& report : rail_reports()) {
    if (report.peer == peer) bytes += report.stats.bytes_received;
  }
  return bytes;
}

std::string SimRank::describe() const {
  static constexpr const char* kStages[] = {"has not come", "meets",  "agrees", "pauses", "runs",
                                            "says goodbye", "closes", "parts",  "ended"};
  std::string text =
      fmt::format("rank {} {}, operation {}: {}", parts_.rank, kStages[static_cast<size_t>(stage_)],
                  next_, executor_->describe());
  if (!error_.is_ok()) text += fmt::format("; error: {}", error_.message());
  for (const Peers::RailReport& report : rail_reports()) {
    text += fmt::format("\n    to rank {} over rail {}: {}, {} failures, {} recoveries {}",
                        report.peer, report.local_rail, rail_state_name(report.stats.state),
                        report.stats.failures, report.stats.recoveries, report.stats.last_error);
  }
  return text;
}

}  // namespace railccl::simulate
