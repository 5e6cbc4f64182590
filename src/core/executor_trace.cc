// Executor: what it leaves in the trace (see executor.h).
#include "src/core/executor.h"

namespace railccl {
namespace {

// Inside a node such an operation takes some 20 us, and its records about 200 ns; between nodes
// some 50 us.
constexpr uint64_t kDetailBytes = 512 * 1024;
constexpr uint64_t kDetailBytesBetweenNodes = 64 * 1024;

}  // namespace

bool Executor::traced_in_detail(const Call& call) const {
  const uint64_t least = services_.peers != nullptr ? kDetailBytesBetweenNodes : kDetailBytes;
  return call.count * call.element() >= least;
}

void Executor::trace_from_here() {
  if (stage_ == Stage::kIdle || !trace_enabled()) return;
  detailed_ = true;
  if (stage_ != Stage::kRun) return;
  for (Piece& piece : slots_) {
    if (!piece.active || piece.computing || piece.pc >= piece.schedule->steps.size()) continue;
    trace_wait_begin(piece, piece.schedule->steps[piece.pc]);
  }
}

void Executor::record(TraceKind kind, const Piece& piece, int peer, uint64_t bytes) const {
  trace({.kind = kind,
         .source = services_.trace_source,
         .peer = peer,
         .a = trace_step(sequence_, static_cast<uint32_t>(slot_of(piece)), piece.pc),
         .b = bytes});
}

// Called where a copy, a reduction or a small message begins to move data.
void Executor::trace_step_begin(Piece& piece, const Step& step) {
  if (!detailed_) return;
  trace_wait_end(piece);
  piece.in_step = true;
  record(TraceKind::kStepBegin, piece, step.peer, step.count * call_.element());
}

void Executor::trace_wait_begin(Piece& piece, const Step& step) {
  if (piece.in_wait || piece.in_step) return;
  piece.in_wait = true;
  piece.waits_for = step.peer != kSelf ? step.peer : not_ready_;
  record(TraceKind::kWaitBegin, piece, piece.waits_for, 0);
}

void Executor::trace_wait_end(Piece& piece) {
  if (!piece.in_wait) return;
  piece.in_wait = false;
  record(TraceKind::kWaitEnd, piece, piece.waits_for, 0);
}

// After each try of a step. Only waits that did not find at once what they
// wait for are recorded.
void Executor::trace_outcome(Piece& piece, const Step& step, Outcome outcome) {
  if (outcome == Outcome::kBlocked) {
    trace_wait_begin(piece, step);
    return;
  }
  trace_wait_end(piece);
  if (!piece.in_step || outcome != Outcome::kAdvanced) return;
  piece.in_step = false;
  record(TraceKind::kStepEnd, piece, step.peer, step.count * call_.element());
}

}  // namespace railccl
