// Executor: one step of a schedule (see executor.h).
#include <algorithm>

#include "src/core/executor.h"

namespace railccl {
namespace {

constexpr uint64_t kComputedFirst = 16 * 1024;  // bytes that take less time than another round

}  // namespace

Result<Executor::Outcome> Executor::run_step(Piece& piece, const Step& step, TimeNs now) {
  switch (step.kind) {
    case StepKind::kWait:
      return wait(piece, step);
    case StepKind::kSignal:
      return signal(piece, step, now);
    case StepKind::kPut:
      return services_.is_local(step.peer) ? put_local(piece, step) : put_remote(piece, step, now);
    case StepKind::kReduce:
    case StepKind::kCopy: {
      const std::span<const Slice> slices(piece.schedule->slices);
      return combine(piece, step, slices.subspan(step.first_slice, step.num_dsts),
                     slices.subspan(step.first_slice + step.num_dsts, step.num_srcs));
    }
  }
  return error(Code::kInternalError, "schedule step of unknown kind");
}

Status Executor::local_peer_status(int peer) {
  const Result<bool> ready = local_peer_ready(peer);
  return ready ? Status::ok() : ready.error();
}

Result<Executor::Outcome> Executor::wait(const Piece& piece, const Step& step) {
  uint64_t index = piece.index;
  if (step.previous_lap) {
    if (index < plan_->slots()) return Outcome::kAdvanced;
    index -= plan_->slots();
  }
  const uint64_t tag = operation_tag(sequence_, index, step.tag);
  if (inbox_of(step.peer).take_notification(tag)) return Outcome::kAdvanced;
  // A peer that has begun something else will never say this.
  RAILCCL_TRY(services_.is_local(step.peer) ? local_peer_status(step.peer)
                                            : check_arrived(step.peer));
  return Outcome::kBlocked;
}

Result<Executor::Outcome> Executor::signal(const Piece& piece, const Step& step, TimeNs now) {
  if (needs_no_credit(piece, step)) return Outcome::kAdvanced;
  const uint64_t tag = tag_of(piece, step.tag);
  // A credit also says that this rank's puts out of the slot are over.
  if (step.previous_lap && piece.unacknowledged > 0) return Outcome::kBlocked;
  if (services_.is_local(step.peer)) {
    const int index = services_.layout->local_index[static_cast<size_t>(step.peer)];
    return services_.local->notify(index, tag) ? Outcome::kAdvanced : Outcome::kBlocked;
  }
  const MessageHeader header{.type = MessageType::kData,
                             .sequence = static_cast<uint32_t>(sequence_),
                             .fingerprint = call_.fingerprint(),
                             .tag = tag};
  RAILCCL_ASSIGN(const bool sent, services_.peers->send(step.peer, header, {}, now));
  return sent ? Outcome::kAdvanced : Outcome::kBlocked;
}

Result<Executor::Outcome> Executor::put_local(Piece& piece, const Step& step) {
  Slice target = piece.schedule->slices[step.first_slice];
  target.owner = step.peer;
  const Slice& source = piece.schedule->slices[step.first_slice + step.num_dsts];
  RAILCCL_ASSIGN(const Outcome outcome, combine(piece, step, {&target, 1}, {&source, 1}));
  if (outcome != Outcome::kAdvanced) return outcome;
  const int index = services_.layout->local_index[static_cast<size_t>(step.peer)];
  return services_.local->notify(index, tag_of(piece, step.tag)) ? Outcome::kAdvanced
                                                                 : Outcome::kBlocked;
}

Result<Executor::Outcome> Executor::put_remote(Piece& piece, const Step& step, TimeNs now) {
  const uint64_t bytes = step.count * call_.element();
  if (bytes > services_.eager_bytes) return put_bulk(piece, step, now);
  const Slice& dst = piece.schedule->slices[step.first_slice];
  const Slice& src = piece.schedule->slices[step.first_slice + step.num_dsts];
  const MessageHeader header{.type = MessageType::kData,
                             .buffer = static_cast<uint8_t>(dst.buffer),
                             .sequence = static_cast<uint32_t>(sequence_),
                             .fingerprint = call_.fingerprint(),
                             .tag = tag_of(piece, step.tag),
                             .offset = remote_offset(dst, place_of(piece))};
  const std::span<const std::byte> body(operands_.own(src, place_of(piece)), bytes);
  RAILCCL_ASSIGN(const bool sent, services_.peers->send(step.peer, header, body, now));
  if (sent) trace_step_begin(piece, step);
  return sent ? Outcome::kAdvanced : Outcome::kBlocked;
}

uint64_t Executor::remote_offset(const Slice& dst, const OperandPlace& place) const {
  if (dst.buffer == BufferId::kScratch) return place.slot_offset + dst.offset * call_.element();
  return (place.first_element + dst.offset) * call_.element();
}

const RegisteredBuffer* Executor::memory_of(BufferId buffer) const {
  switch (buffer) {
    case BufferId::kInput:
      return input_memory_.get();
    case BufferId::kOutput:
      return output_memory_.get();
    case BufferId::kScratch:
      return services_.scratch_memory;
  }
  return nullptr;
}

Result<Executor::Outcome> Executor::put_bulk(Piece& piece, const Step& step, TimeNs now) {
  const Inbox::Ready* ready = find_ready(step.peer);
  if (ready == nullptr || !services_.peers->connected(step.peer)) return Outcome::kBlocked;
  RAILCCL_TRY(check(step.peer, ready->sequence, ready->fingerprint));
  const Slice& dst = piece.schedule->slices[step.first_slice];
  const Slice& src = piece.schedule->slices[step.first_slice + step.num_dsts];
  const OperandPlace place = place_of(piece);
  const std::byte* source = operands_.own(src, place);
  const RegisteredBuffer* memory = memory_of(src.buffer);
  if (memory == nullptr) {
    return error(Code::kInternalError, "a put reads from a buffer that rank {} does not have",
                 services_.rank);
  }
  const bool to_scratch = dst.buffer == BufferId::kScratch;
  const RemoteBuffer& target =
      to_scratch ? services_.peers->remote_scratch(step.peer) : ready->target;
  const LinkPut put{.token = put_token(puts_++, slot_of(piece)),
                    .source = memory,
                    .source_offset = static_cast<uint64_t>(source - memory->region.address),
                    .bytes = step.count * call_.element(),
                    .target = &target,
                    .target_offset = remote_offset(dst, place) + (to_scratch ? 0 : ready->offset),
                    .tag = tag_of(piece, step.tag)};
  RAILCCL_TRY(services_.peers->put(step.peer, put, now));
  put_now_ = true;
  ++piece.unacknowledged;
  return Outcome::kAdvanced;
}

// Copies or reduces, a block at a time, so that the network is not left alone for long.
Result<Executor::Outcome> Executor::combine(Piece& piece, const Step& step,
                                            std::span<const Slice> dsts,
                                            std::span<const Slice> srcs) {
  if (piece.done_elements == step.count) return Outcome::kAdvanced;
  // What was put leaves first.
  if (put_now_ && step.count * call_.element() > kComputedFirst) return Outcome::kMoved;
  if (piece.done_elements == 0) {
    RAILCCL_ASSIGN(const bool ready, owners_ready(dsts, srcs));
    if (!ready) return Outcome::kBlocked;
    trace_step_begin(piece, step);
  }
  const uint64_t count = std::min(step.count - piece.done_elements, operands_.max_block());
  const Operands::Work work{.dsts = dsts,
                            .srcs = srcs,
                            .begin = piece.done_elements,
                            .count = count,
                            .op = arithmetic_.op,
                            .divide_by = step.final ? arithmetic_.divide_by : 1,
                            .streaming = streaming_ && dsts[0].buffer != BufferId::kScratch};
  RAILCCL_ASSIGN(piece.ticket, operands_.compute(work, place_of(piece), compute()));
  piece.done_elements += count;
  piece.computing = !compute().done(piece.ticket);
  const bool whole = piece.done_elements == step.count && !piece.computing;
  return whole ? Outcome::kAdvanced : Outcome::kMoved;
}

}  // namespace railccl
