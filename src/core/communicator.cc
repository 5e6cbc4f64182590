#include "src/core/communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "src/base/fast_clock.h"
#include "src/base/log.h"
#include "src/core/metrics_output.h"
#include "src/core/rail_totals.h"
#include "src/core/trace_output.h"

namespace railccl {
namespace {

constexpr TimeNs kLookAgain = 200 * kMicrosecond;   // at ranks of the node that are not out yet
constexpr TimeNs kTracedAfter = 50 * kMicrosecond;  // an operation, in detail, whatever its size

int ranks_of_node(const Layout& layout, int rank) {
  const auto node = static_cast<size_t>(layout.node_of[static_cast<size_t>(rank)]);
  return static_cast<int>(layout.ranks_of[node].size());
}

uint64_t bytes_of(const Operation& group) {
  uint64_t bytes = 0;
  for (const P2pTransfer& transfer : group.transfers) bytes += transfer.bytes();
  return bytes;
}

}  // namespace

Result<std::shared_ptr<Communicator>> Communicator::create(CommParts parts) {
  std::shared_ptr<Communicator> communicator(new Communicator(std::move(parts)));
  const DriverLock held(communicator->engine_);
  RAILCCL_TRY(communicator->assemble());
  return communicator;
}

Communicator::Communicator(CommParts parts)
    : parts_(std::move(parts)),
      rank_(parts_.control->rank()),
      layout_(parts_.layout),
      one_node_(layout_->nodes() == 1),
      engine_(*parts_.engine),
      control_(parts_.control.get()),
      local_(parts_.local.get()),
      policy_({.mode = parts_.options.wait_mode,
               .ranks = ranks_of_node(*layout_, rank_),
               .cores = local_ != nullptr ? local_->cores() : 1,
               .spin_ns = parts_.options.spin_ns}),
      rail_memory_(engine_),
      inboxes_(static_cast<size_t>(layout_->ranks())),
      goodbyes_(static_cast<size_t>(layout_->ranks())),
      lost_(static_cast<size_t>(layout_->ranks())) {}

PlanInputs Communicator::plan_inputs() const {
  const CommOptions& options = parts_.options;
  return {.rank = rank_,
          .layout = layout_,
          .direct = parts_.direct,
          .scratch_bytes = options.scratch_bytes,
          .eager_bytes = options.eager_bytes,
          .depth = options.depth,
          .piece_bytes = options.piece_bytes,
          .min_channels = options.min_channels,
          .max_channels = options.max_channels,
          .machine = parts_.machine,
          .retune = options.retune,
          .machine_at_start = parts_.machine,
          .allowed = options.allowed,
          .user_schedule = options.user_schedule};
}

// All of a node in one piece of a GPU's memory: only algorithms that need no scratch, and each call
// as one piece, since it is one already.
PlanInputs Communicator::device_plan_inputs() const {
  PlanInputs inputs = plan_inputs();
  inputs.direct = true;
  inputs.scratch_bytes = 0;
  inputs.piece_bytes = parts_.device->own().bytes;
  inputs.min_channels = 1;
  inputs.max_channels = 1;
  inputs.allowed.clear();
  inputs.user_schedule = nullptr;
  return inputs;
}

Status Communicator::assemble() {
  const CommOptions& options = parts_.options;
  if (!one_node_) {
    const ScratchView scratch = services().scratch;
    RAILCCL_ASSIGN(scratch_memory_, rail_memory_.acquire(scratch.own, scratch.bytes));
    PeersOptions peers = options.peers;
    peers.rank = rank_;
    peers.link.trace_source = parts_.trace_source;
    peers.link.owner = "communicator " + parts_.name;
    peers_ = std::make_unique<Peers>(peers, engine_, parts_.nodes, scratch_memory_.get(), inboxes_,
                                     static_cast<PeersObserver&>(*this));
  }
  plans_ = std::make_unique<PlanCache>(plan_inputs());
  if (parts_.device) device_plans_ = std::make_unique<PlanCache>(device_plan_inputs());
  if (peers_ && options.retune != Retune::kOff) rail_model_ = make_rail_model();
  if (options.predict || parts_.outputs.metrics != nullptr) {
    stats_ = std::make_unique<OperationStats>(options.predict);
  }
  executor_ = std::make_unique<Executor>(services());
  p2p_ = std::make_unique<P2p>(services());
  if (local_ != nullptr) {
    RAILCCL_ASSIGN(const int doorbell, local_->wake_fd());
    engine_.watch(doorbell);
  }
  engine_.watch(control_->wake_fd());
  engine_.add_client(this);
  if (parts_.outputs.metrics != nullptr) parts_.outputs.metrics->add(this);
  registered_ = true;
  now_ = system_clock().now_ns();
  last_progress_ = now_;
  for (const auto& [peer, message] : parts_.early_messages) on_control_message(peer, message);
  parts_.early_messages.clear();
  for (const auto& [peer, departure] : parts_.early_goodbyes) on_peer_left(peer, departure);
  if (!parts_.early_error) set_error(parts_.early_error, false);
  return Status::ok();
}

ExecutorServices Communicator::services() {
  ScratchView scratch{.own = parts_.scratch.data(),
                      .bytes = parts_.options.scratch_bytes,
                      .local = local_,
                      .skip = parts_.scratch_skip};
  if (local_ != nullptr) {
    scratch.own = scratch.of(layout_->local_index[static_cast<size_t>(rank_)]);
  }
  return {.rank = rank_,
          .layout = layout_,
          .local = local_,
          .device = parts_.device.get(),
          .peers = peers_.get(),
          .inboxes = &inboxes_,
          .compute = &host_compute(),
          .rail_memory = &rail_memory_,
          .scratch = scratch,
          .scratch_memory = scratch_memory_.get(),
          .direct = parts_.direct,
          .eager_bytes = parts_.options.eager_bytes,
          .streaming_bytes = parts_.machine.streaming_bytes,
          .trace_source = parts_.trace_source};
}

Status Communicator::submit(const std::shared_ptr<Operation>& operation) {
  RAILCCL_TRY(enqueue(operation));
  engine_.kick();
  return Status::ok();
}

Status Communicator::submit_for_caller(const std::shared_ptr<Operation>& operation) {
  RAILCCL_TRY(enqueue(operation));
  engine_.kick_for_caller();
  return Status::ok();
}

Status Communicator::process_ends() {
  return railccl::error(Code::kInvalidUsage,
                        "the process is ending (exit, or the return of main): the other ranks have "
                        "been told that this one is gone");
}

Status Communicator::enqueue(const std::shared_ptr<Operation>& operation) {
  if (failed_.load(std::memory_order_acquire)) return error();
  if (departed_.load(std::memory_order_relaxed)) return process_ends();
  {
    const MutexLock guard(queue_mutex_);
    const bool collective = operation->transfers.empty();
    (collective ? queue_ : transfer_queue_).push_back(operation);
    if (!collective) transfers_wait_.store(true, std::memory_order_relaxed);
    queued_.fetch_add(1, std::memory_order_release);
  }
  engine_.stir();
  return Status::ok();
}

void Communicator::wait(Operation& operation) {
  engine_.wait(operation.completion, caller_spin_ns(parts_.options, policy_.crowded()));
}

bool Communicator::progress(TimeNs now) {
  now_ = now;
  bool worked = false;
  if (control_looks_.due(now) || announce_.load(std::memory_order_relaxed)) {
    worked = control_->progress(now, *this);
    control_looks_.looked(now, worked);
    if (announce_.exchange(false)) control_->announce_failure(error());
    if (rail_model_ && !failed_.load()) worked |= progress_rail_model(now);
  }
  if (!try_drive()) return worked;
  const bool moved = drive(now);
  watch_for_stall(moved, now);
  stop_driving();
  return worked || moved;
}

TimeNs Communicator::next_deadline() const {
  TimeNs deadline = control_->next_deadline();
  if (peers_) deadline = std::min(deadline, peers_->next_deadline());
  if (announce_.load()) deadline = 0;
  if (rail_model_ && !failed_.load()) {
    deadline = std::min(deadline, rail_model_->next_deadline());
    if (held_since_ != 0) deadline = std::min(deadline, held_since_ + hold_timeout());
  }
  if (now_ < transfers_wait_until_ && !p2p_->idle()) {
    deadline = std::min(deadline, transfers_wait_until_);
  }
  if (end_deadline_ != 0 && has_work()) deadline = std::min(deadline, now_ + kLookAgain);
  if (reason_deadline_ != 0 && !failed_.load()) deadline = std::min(deadline, reason_deadline_);
  return deadline;
}

void Communicator::prepare_sleep() {
  if (!has_work() || !try_drive()) return;
  asleep_ = true;
  trace_sleep();
  if (local_ != nullptr) {
    armed_ = true;
    local_->prepare_sleep(LocalDomain::SleepOn::kDescriptor);
  }
  stop_driving();
}

void Communicator::finish_sleep(TimeNs now, SleepEnd end) {
  control_looks_.slept(now, end);
  if (!try_drive()) return;
  wake_up();
  stop_driving();
}

void Communicator::wake_up() {
  if (armed_) local_->finish_sleep();
  if (asleep_) trace({.kind = TraceKind::kSleepEnd, .source = parts_.trace_source});
  armed_ = false;
  asleep_ = false;
}

bool Communicator::drive(TimeNs now) {
  clock_ = now;
  bool worked = peers_ ? peers_->progress(now) : false;
  if (failed_.load(std::memory_order_acquire)) return end_with_error(now) || worked;
  if (reason_deadline_ != 0) {
    return ends_for_departure() || transfers_end_for_departure(now) || await_reason_until(now) ||
           worked;
  }
  if (queued_.load(std::memory_order_acquire) == 0) return worked;
  if (running_ == Running::kNothing) worked |= start_next(now);
  worked |= start_transfers(now);
  if (failed_.load(std::memory_order_acquire)) return true;  // what could not begin is not run
  if (must_keep_out()) {
    wait_for_reason(node_aborted());
    return true;
  }
  if (local_ != nullptr) worked |= local_->poll(*this);
  if (ends_for_departure()) return true;
  for (const Result<bool>& moved : {step(now), step_transfers(now)}) {
    if (!moved) {
      fail_operation(moved.error());
      return true;
    }
    worked |= *moved;
  }
  return worked || transfers_end_for_departure(now);
}

// That a peer is gone, and its memory with it, is often seen here first, but the control path can
// say who and how; nothing moves until it has.
void Communicator::fail_operation(const Status& status) {
  const bool may_follow_from_another = status.code() == Code::kPeerFailed ||
                                       status.code() == Code::kSystemError ||
                                       status.code() == Code::kInvalidUsage;
  if (!may_follow_from_another) return set_error(status, true);
  wait_for_reason(status);
}

void Communicator::wait_for_reason(const Status& status) {
  if (reason_deadline_ != 0) return;
  unexplained_ = status;
  reason_deadline_ = system_clock().now_ns() + kReasonTimeout;
}

bool Communicator::await_reason_until(TimeNs now) {
  if (now < reason_deadline_) return false;
  set_error(unexplained_, true);
  return true;
}

bool Communicator::start_next(TimeNs now) {
  {
    const MutexLock guard(queue_mutex_);
    if (queue_.empty() || !queue_.front()->may_begin()) return false;
    if (!may_start(now)) return false;
    current_ = queue_.front();
    queue_.pop_front();
  }
  const Status status = start(current_->call, now);
  if (!status) set_error(status, true);
  return true;
}

bool Communicator::start_transfers(TimeNs now) {
  if (!transfers_wait_.load(std::memory_order_relaxed)) return false;
  bool started = false;
  const MutexLock guard(queue_mutex_);
  while (!transfer_queue_.empty() && transfer_queue_.front()->may_begin()) {
    const std::shared_ptr<Operation> group = transfer_queue_.front();
    transfer_queue_.pop_front();
    group->began = now;
    if (local_ != nullptr) local_->enter();
    const Status status = p2p_->begin(group, now);
    if (!status) set_error(status, true);
    started = true;
  }
  transfers_wait_.store(!transfer_queue_.empty(), std::memory_order_relaxed);
  return started;
}

Result<bool> Communicator::step_transfers(TimeNs now) {
  if (p2p_->idle()) return false;
  RAILCCL_ASSIGN(const bool worked, p2p_->step(now));
  for (const auto& group : p2p_->take_finished()) {
    if (stats_ != nullptr) stats_->add(Collective::kSendRecv, bytes_of(*group), now - group->began);
    if (local_ != nullptr) local_->leave();
    complete(*group, Status::ok());
  }
  return worked;
}

Result<bool> Communicator::step(TimeNs now) {
  switch (running_) {
    case Running::kNothing:
      return false;
    case Running::kSmall: {
      RAILCCL_ASSIGN(const bool finished, step_small());
      if (finished) finish_current(Status::ok());
      return finished;
    }
    case Running::kSchedule: {
      RAILCCL_ASSIGN(const bool worked, executor_->step(now));
      if (executor_->finished()) {
        finish_current(Status::ok());
      } else if (now >= began_ + kTracedAfter) {
        trace_long_operation();
      }
      return worked;
    }
  }
  return false;
}

void Communicator::finish_current(const Status& status) {
  note_end(status);
  if (running_ == Running::kSchedule && local_ != nullptr) local_->leave();
  running_ = Running::kNothing;
  if (current_ == nullptr) return;
  const std::shared_ptr<Operation> ended = std::move(current_);
  current_.reset();
  complete(*ended, status);
}

void Communicator::complete(Operation& operation, const Status& status) {
  queued_.fetch_sub(1, std::memory_order_release);
  operation.completion.complete(status);
  engine_.wake_sleeper();
}

// After an error: closes the links first and waits for the ranks of the node to be out, so that
// nothing lands in the callers' buffers any more, then tells everyone who waits. True when it did
// anything.
bool Communicator::end_with_error(TimeNs now) {
  const Status reason = error();
  if (end_deadline_ == 0) {
    if (local_ != nullptr) local_->withdraw();
    if (peers_) peers_->close(reason, now);
    end_deadline_ = now + kCloseAfterError;
  }
  if (queued_.load() == 0) return false;
  if (peers_ && !peers_->closed() && now < end_deadline_) return false;
  if (!node_is_out(now, end_deadline_)) return false;
  executor_->abandon();
  if (current_) finish_current(reason);
  for (const auto& group : p2p_->abandon()) complete(*group, reason);
  std::deque<std::shared_ptr<Operation>> left;
  {
    const MutexLock guard(queue_mutex_);
    left.swap(queue_);
    left.insert(left.end(), transfer_queue_.begin(), transfer_queue_.end());
    transfer_queue_.clear();
  }
  for (const std::shared_ptr<Operation>& operation : left) complete(*operation, reason);
  return true;
}

Status Communicator::error() const {
  if (!failed_.load(std::memory_order_acquire)) return Status::ok();
  const MutexLock guard(error_mutex_);
  return error_;
}

void Communicator::set_error(const Status& status, bool announce) {
  {
    const MutexLock guard(error_mutex_);
    if (!error_.is_ok()) return;
    error_ = status;
    trace({.kind = TraceKind::kError,
           .source = parts_.trace_source,
           .a = static_cast<uint64_t>(status.code())});
    request_trace_dump();
    // Together with the error: a thread that comes second with its own returns this one.
    announce_.store(announce);
    failed_.store(true);
  }
  RAILCCL_WARN(Subsys::kColl, "communicator {} ends on rank {}: {}", parts_.name, rank_,
               status.message());
  if (local_ != nullptr) {
    local_->raise_abort(1);
    local_->ring_all();
  }
  engine_.kick();
}

void Communicator::fail(const Status& status) { set_error(status, true); }

CommMetrics Communicator::metrics() const {
  CommMetrics metrics{.name = parts_.name,
                      .id = parts_.id,
                      .rank = rank_,
                      .ranks = ranks(),
                      .failed = failed_.load()};
  for (size_t i = 0; stats_ && i < kCountedCollectives; ++i) {
    const OperationTotals totals = stats_->totals(static_cast<Collective>(i));
    if (totals.operations > 0) metrics.operations.emplace_back(static_cast<Collective>(i), totals);
  }
  if (stats_) metrics.predicted = stats_->predicted();
  if (!peers_) return metrics;
  for (const auto& [rail, totals] : rail_totals(peers_->rail_reports())) {
    const RailInfo& info = engine_.rails()[static_cast<size_t>(rail)]->info();
    metrics.rails.push_back({.name = info.name,
                             .transport = std::string(transport_name(info.transport)),
                             .stats = totals.sum});
  }
  return metrics;
}

Status Communicator::register_memory(const std::byte* address, size_t bytes) {
  const DriverLock held(engine_);
  return rail_memory_.keep(address, bytes);
}

void Communicator::deregister_memory(const std::byte* address) {
  const DriverLock held(engine_);
  rail_memory_.release(address);
}

}  // namespace railccl
