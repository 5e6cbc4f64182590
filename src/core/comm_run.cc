// Communicator: one operation from call to result (see communicator.h).
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "src/base/fast_clock.h"
#include "src/base/trace.h"
#include "src/core/communicator.h"

namespace railccl {
namespace {

constexpr TimeNs kSleepHere =
    20 * kMillisecond;  // between two looks at the error of a waiting caller

constexpr std::chrono::microseconds kReasonPause{200};

constexpr uint64_t kSmallTraced = 16;
constexpr TimeNs kKeptWaiting = 10 * kMicrosecond;

}  // namespace

bool Communicator::is_in_place(const Call& call) const {
  if (is_reduction(call.collective) && scales_first(call)) return false;
  const uint64_t block = call.count * call.element();
  const std::byte* input = call.input;
  const std::byte* output = call.output;
  switch (call.collective) {
    case Collective::kAllGather:
      return input == output + static_cast<uint64_t>(rank_) * block;
    case Collective::kReduceScatter:
      return output == input + static_cast<uint64_t>(rank_) * block;
    case Collective::kGather:
      return rank_ == call.root && input == output + static_cast<uint64_t>(rank_) * block;
    case Collective::kScatter:
      return rank_ == call.root && output == input + static_cast<uint64_t>(rank_) * block;
    case Collective::kAllToAll:
      return false;
    default:
      return input == output;
  }
}

Status Communicator::run(const Call& call) {
  if (failed_.load(std::memory_order_acquire)) return error();
  if (one_node_ && queued_.load(std::memory_order_acquire) == 0 && try_drive()) {
    // Whoever aborts waits for the driver, or is seen here.
    if (running_ == Running::kNothing && queued_.load(std::memory_order_acquire) == 0 &&
        !failed_.load() && !departed_.load()) {
      const Status status = run_here(call);
      stop_driving();
      if (queued_.load(std::memory_order_acquire) > 0) engine_.kick();
      return status;
    }
    stop_driving();
  }
  // Nobody looks at an operation any more once it is complete, so this one needs no other owner.
  Operation operation;
  operation.call = call;
  // Nobody need be woken: this caller drives.
  RAILCCL_TRY(enqueue({std::shared_ptr<Operation>(), &operation}));
  wait(operation);
  return operation.completion.status();
}

// The caller is the driver: no other thread is woken, nothing is queued.
Status Communicator::run_here(const Call& call) {
  wake_up();
  clock_ = fast_now_ns();
  const Status started = start(call, clock_);
  const Status status = started ? await_here() : started;
  if (status) return status;
  note_end(status);
  running_ = Running::kNothing;
  executor_->abandon();
  await_reason(status);
  set_error(status, true);
  await_node();
  return error();
}

// That a peer is gone is often seen here first, but the control path can say who and how.
void Communicator::await_reason(const Status& status) {
  if (status.code() != Code::kPeerFailed) return;
  const TimeNs deadline = fast_now_ns() + kReasonTimeout;
  while (!failed_.load(std::memory_order_acquire) && fast_now_ns() < deadline) {
    std::this_thread::sleep_for(kReasonPause);
  }
}

Status Communicator::await_here() {
  policy_.reset();
  while (running_ != Running::kNothing) {
    RAILCCL_ASSIGN(const bool worked, step_here());
    if (worked) {
      policy_.reset();
      continue;
    }
    if (failed_.load(std::memory_order_relaxed)) return error();
    clock_ = fast_now_ns();
    RAILCCL_TRY(check_node(clock_));
    if (ends_for_departure()) return error();
    const WaitingPolicy::Action action = policy_.idle(clock_);
    if (action == WaitingPolicy::Action::kYield) sched_yield();
    if (action != WaitingPolicy::Action::kSleep) continue;
    local_->prepare_sleep(LocalDomain::SleepOn::kFutex);
    RAILCCL_ASSIGN(const bool late, step_here());
    if (!late && !failed_.load()) sleep_here();
    local_->finish_sleep();
    policy_.reset();
  }
  return Status::ok();
}

Result<bool> Communicator::step_here() {
  if (running_ == Running::kSmall || local_ == nullptr) return step(0);
  if (must_keep_out()) return false;
  const bool notified = local_->poll(*this);
  RAILCCL_ASSIGN(const bool moved, step(0));
  return moved || notified;
}

void Communicator::sleep_here() {
  trace_sleep();
  const TimeNs asleep_at = fast_now_ns();
  local_->sleep(kSleepHere);
  policy_.slept(fast_now_ns() - asleep_at);
  trace({.kind = TraceKind::kSleepEnd, .source = parts_.trace_source});
}

Status Communicator::start(const Call& call, TimeNs now) {
  ++sequence_;
  current_call_ = call;
  began_ = clock_;
  begin_traced_ = false;
  if (call.collective == Collective::kAllToAll && call.input == call.output) {
    const uint64_t bytes = input_bytes(call, rank_, layout_->ranks());
    RAILCCL_ASSIGN(current_call_.input, stage(bytes));
    std::memcpy(staged_, call.input, bytes);
  }
  if (rail_model_ && rail_model_->begin(sequence_)) adopt_rail_picture();
  if (uses_small(current_call_)) {
    start_small(current_call_);
    return Status::ok();
  }
  return start_schedule(current_call_, now);
}

void Communicator::trace_begin() {
  begin_traced_ = true;
  trace_at(began_, {.kind = TraceKind::kOperationBegin,
                    .source = parts_.trace_source,
                    .a = sequence_,
                    .b = trace_operation(current_call_.collective, payload())});
}

// Small collectives end, for the trace, at the driver's last look at the clock: a look of their own
// would be a noticeable part of them.
void Communicator::note_end(const Status& status) {
  if (running_ == Running::kNothing) return;
  const bool exact = stats_ != nullptr || running_ != Running::kSmall;
  const TimeNs now = std::max(began_, exact ? fast_now_ns() : clock_);
  if (trace_enabled()) trace_end(status, now);
  if (stats_ == nullptr || !status) return;
  stats_->add(current_call_.collective, payload(), now - began_);
  if (!stats_->predicts() || running_ != Running::kSchedule) return;
  stats_->add_predicted(current_call_.collective, payload(), now - began_,
                        executor_->predicted_ns());
}

// Short operations leave one record, at their end. The smallest ones take less time than ten such
// records and would push everything else out of the ring within milliseconds: of those that nobody
// kept waiting one in kSmallTraced is recorded.
void Communicator::trace_end(const Status& status, TimeNs now) {
  const bool whole = !begin_traced_ && status;
  const bool small = running_ == Running::kSmall;
  if (small && whole && sequence_ % kSmallTraced != 0 && now - began_ < kKeptWaiting) return;
  if (whole) {
    trace_at(began_,
             {.kind = TraceKind::kOperation,
              .source = parts_.trace_source,
              .a = sequence_,
              .b = trace_short_operation(current_call_.collective, now - began_, payload())});
    return;
  }
  if (!begin_traced_) trace_begin();
  trace_at(now, {.kind = TraceKind::kOperationEnd,
                 .source = parts_.trace_source,
                 .a = sequence_,
                 .b = static_cast<uint64_t>(status.code())});
}

// An operation that lasts is in the trace meanwhile, whatever its size.
void Communicator::trace_long_operation() {
  if (begin_traced_ || !trace_enabled()) return;
  trace_begin();
  if (running_ == Running::kSchedule) executor_->trace_from_here();
}

// So is one that makes its driver sleep.
void Communicator::trace_sleep() {
  if (running_ != Running::kNothing) trace_long_operation();
  trace({.kind = TraceKind::kSleepBegin, .source = parts_.trace_source});
}

// Memory for a copy of the input that local peers reach directly; kept for the next call.
Result<std::byte*> Communicator::stage(uint64_t bytes) {
  if (bytes > staged_bytes_) {
    RAILCCL_TRY(shared_heap_free(staged_));
    staged_ = nullptr;
    staged_bytes_ = 0;
    RAILCCL_ASSIGN(void* memory, shared_heap_allocate(bytes));
    staged_ = static_cast<std::byte*>(memory);
    staged_bytes_ = bytes;
  }
  return staged_;
}

bool Communicator::uses_small(const Call& call) const {
  return local_ != nullptr && one_node_ && call.on_device == nullptr &&
         !(is_reduction(call.collective) && scales_first(call)) &&
         LocalDomain::small_suits(call.collective, call.count, call.type, layout_->ranks()) &&
         !uses_user_schedule(call, plans_->inputs());
}

void Communicator::start_small(const Call& call) {
  const bool average = call.op == ReduceOp::kAvg && is_reduction(call.collective);
  local_->small_begin({.collective = call.collective,
                       .type = call.type,
                       .op = call.op,
                       .divide_by = average ? static_cast<uint32_t>(layout_->ranks()) : 1,
                       .root_index = call.root,
                       .count = call.count,
                       .input = call.input,
                       .output = call.output,
                       .sequence = sequence_,
                       .fingerprint = pack_small(call.fingerprint())});
  running_ = Running::kSmall;
}

Result<bool> Communicator::step_small() {
  const LocalDomain::Progress progress = local_->small_step();
  if (progress == LocalDomain::Progress::kWaiting) return false;
  if (progress == LocalDomain::Progress::kMismatch) return Error(small_mismatch());
  return true;
}

Status Communicator::small_mismatch() const {
  const LocalDomain::SmallMismatch found = local_->small_mismatch();
  Fingerprint theirs = unpack_small(found.theirs);
  if (found.theirs == 0) {
    const ReadyRecord* ready = local_->ready(found.index, found.sequence);
    if (ready != nullptr) theirs = {ready->fingerprint[0], ready->fingerprint[1]};
  }
  return railccl::error(
      Code::kMismatch,
      "operation {} of the communicator differs between ranks: rank {} called {}, rank {} "
      "called {}",
      found.sequence, rank_, to_string(unpack_small(found.mine)),
      layout_->ranks_of[0][static_cast<size_t>(found.index)], to_string(theirs));
}

Status Communicator::start_schedule(const Call& call, TimeNs now) {
  PlanCache& plans = call.on_device != nullptr ? *device_plans_ : *plans_;
  RAILCCL_ASSIGN(auto plan, plans.get(call, is_in_place(call)));
  RAILCCL_ASSIGN(const Arithmetic arithmetic, prepare(call));
  if (local_ != nullptr) local_->enter();
  RAILCCL_TRY(executor_->begin(call, arithmetic, sequence_, std::move(plan), now));
  running_ = Running::kSchedule;
  if (trace_enabled() && executor_->traced_in_detail(call)) trace_begin();
  if (parts_.options.predict) {
    trace_at(clock_, {.kind = TraceKind::kPredicted,
                      .source = parts_.trace_source,
                      .a = sequence_,
                      .b = executor_->predicted_ns()});
  }
  return Status::ok();
}

// Averages and scalars: what can be left to the last reduction is, the rest is a scaled copy of the
// input.
Result<Arithmetic> Communicator::prepare(const Call& call) {
  Arithmetic arithmetic{.input = call.input, .op = call.op, .divide_by = 1};
  if (!is_reduction(call.collective)) return arithmetic;
  if (call.op == ReduceOp::kAvg) arithmetic.divide_by = static_cast<uint32_t>(layout_->ranks());
  if (!scales_first(call)) return arithmetic;
  const uint64_t bytes = input_bytes(call, rank_, layout_->ranks());
  RAILCCL_ASSIGN(std::byte* const scaled, stage(bytes));
  const size_t count = bytes / call.element();
  Compute& compute = host_compute();
  Compute::Ticket ticket = 0;
  if (call.op == ReduceOp::kAvg) {
    std::byte* dsts[] = {scaled};
    const std::byte* srcs[] = {call.input};
    ticket = compute.submit(ReduceWork{.dsts = dsts,
                                       .srcs = srcs,
                                       .count = count,
                                       .type = call.type,
                                       .op = ReduceOp::kSum,
                                       .divide_by = arithmetic.divide_by});
  } else {
    ticket = compute.submit(ScaleWork{.dst = scaled,
                                      .src = call.input,
                                      .count = count,
                                      .type = call.type,
                                      .scalar = call.scalar.data()});
  }
  if (!compute.done(ticket)) {
    return railccl::error(Code::kInternalError, "scaling answered late");
  }
  return Arithmetic{.input = scaled, .op = ReduceOp::kSum, .divide_by = 1};
}

}  // namespace railccl
