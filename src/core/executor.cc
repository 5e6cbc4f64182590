#include "src/core/executor.h"

#include <fmt/format.h>

#include <algorithm>

namespace railccl {

Executor::Executor(const ExecutorServices& services)
    : services_(services),
      operands_(services.layout, services.local, services.device, services.scratch) {}

Status Executor::begin(const Call& call, const Arithmetic& arithmetic, uint64_t sequence,
                       std::shared_ptr<const OperationPlan> plan, TimeNs now) {
  call_ = call;
  arithmetic_ = arithmetic;
  sequence_ = sequence;
  plan_ = std::move(plan);
  operands_.begin(call, arithmetic.input, sequence);
  detailed_ = trace_enabled() && traced_in_detail(call);
  // The largest result, which is the root's where there is one.
  streaming_ =
      output_bytes(call_, call_.root, services_.layout->ranks()) >= services_.streaming_bytes;
  slots_.assign(plan_->slots(), Piece{});
  next_lap_.assign(static_cast<size_t>(plan_->channels), 0);
  pieces_done_ = 0;
  announced_ = 0;
  published_ = services_.local == nullptr;
  owed_credits_.clear();
  stage_ = Stage::kAnnounce;
  for (const int peer : plan_->remote_peers) {
    RAILCCL_TRY(services_.peers->ensure(peer, now));
    forget_old_ready(peer);
    RAILCCL_TRY(check_arrived(peer));
  }
  return acquire_rail_memory();
}

Status Executor::acquire_rail_memory() {
  if (!plan_->puts_large && plan_->large_senders.empty()) return Status::ok();
  const int ranks = services_.layout->ranks();
  const uint64_t in = input_bytes(call_, services_.rank, ranks);
  const uint64_t out = output_bytes(call_, services_.rank, ranks);
  if (in > 0) {
    RAILCCL_ASSIGN(input_memory_, services_.rail_memory->acquire(arithmetic_.input, in));
  }
  if (out > 0) {
    RAILCCL_ASSIGN(output_memory_, services_.rail_memory->acquire(call_.output, out));
  }
  return Status::ok();
}

Result<bool> Executor::step(TimeNs now) {
  bool worked = false;
  put_now_ = false;
  if (stage_ == Stage::kAnnounce) {
    RAILCCL_ASSIGN(worked, announce(now));
  }
  if (stage_ == Stage::kRun) {
    RAILCCL_ASSIGN(const bool ran, run_pieces(now));
    worked |= ran;
  }
  if (bad_data_) {
    return error(Code::kPeerFailed, "a peer sent small data outside the buffers of operation {}",
                 sequence_);
  }
  if (stage_ == Stage::kCollectCredits) {
    worked |= collect_credits();
  }
  return worked;
}

// Tells local peers where the buffers are, and remote ranks that put more than a message's worth
// where they may.
Result<bool> Executor::announce(TimeNs now) {
  bool worked = false;
  if (!published_) {
    const Fingerprint mine = call_.fingerprint();
    const int ranks = services_.layout->ranks();
    const ReadyRecord ready{
        .sequence = sequence_,
        .fingerprint = {mine.kind, mine.count, 0, 0},
        .input = operands_.handle_of(arithmetic_.input, input_bytes(call_, services_.rank, ranks)),
        .output = operands_.handle_of(call_.output, output_bytes(call_, services_.rank, ranks))};
    published_ = services_.local->publish(ready);
    if (!published_) return false;
    worked = true;
  }
  while (announced_ < plan_->large_senders.size()) {
    RAILCCL_ASSIGN(const bool sent, send_ready(plan_->large_senders[announced_], now));
    if (!sent) return worked;
    ++announced_;
    worked = true;
  }
  stage_ = Stage::kRun;
  return true;
}

Result<bool> Executor::send_ready(int peer, TimeNs now) {
  const MessageHeader header{.type = MessageType::kReady,
                             .sequence = static_cast<uint32_t>(sequence_),
                             .fingerprint = call_.fingerprint(),
                             .offset = output_offset()};
  const std::vector<std::byte> target =
      pack(output_memory_ ? railccl::describe(*output_memory_) : RemoteBuffer{});
  return services_.peers->send(peer, header, target, now);
}

// Of the caller's buffer within its registration, which may cover more.
uint64_t Executor::output_offset() const {
  return output_memory_ ? static_cast<uint64_t>(call_.output - output_memory_->region.address) : 0;
}

Result<bool> Executor::run_pieces(TimeNs now) {
  bool worked = start_pieces();
  for (Piece& piece : slots_) {
    if (!piece.active) continue;
    RAILCCL_ASSIGN(const bool moved, run_piece(piece, now));
    worked |= moved;
  }
  if (pieces_done_ == plan_->pieces) {
    stage_ = Stage::kCollectCredits;
    return true;
  }
  return worked;
}

bool Executor::start_pieces() {
  bool started = false;
  const auto channels = static_cast<uint64_t>(plan_->channels);
  const auto depth = static_cast<uint64_t>(plan_->depth);
  for (uint64_t channel = 0; channel < channels; ++channel) {
    uint64_t& lap = next_lap_[channel];
    while (lap * channels + channel < plan_->pieces) {
      Piece& slot = slots_[channel * depth + lap % depth];
      if (slot.active) break;
      slot = Piece{};
      slot.active = true;
      slot.index = lap * channels + channel;
      slot.schedule = &plan_->schedule(slot.index);
      ++lap;
      started = true;
    }
  }
  if (started) drain_kept_data();
  return started;
}

OperandPlace Executor::place_of(const Piece& piece) const {
  return {.first_element = piece.index * plan_->piece_elements,
          .slot_offset = slot_of(piece) * plan_->slot_bytes};
}

Result<bool> Executor::run_piece(Piece& piece, TimeNs now) {
  bool worked = false;
  if (piece.computing) {
    if (!compute().done(piece.ticket)) return false;
    piece.computing = false;
  }
  while (piece.pc < piece.schedule->steps.size()) {
    const Step& step = piece.schedule->steps[piece.pc];
    RAILCCL_ASSIGN(const Outcome outcome, run_step(piece, step, now));
    if (detailed_) trace_outcome(piece, step, outcome);
    if (outcome == Outcome::kBlocked) return worked;
    worked = true;
    if (outcome == Outcome::kMoved) return true;
    ++piece.pc;
    piece.done_elements = 0;
  }
  if (piece.unacknowledged > 0 || piece.computing) return worked;
  owe_credits(piece);
  piece.active = false;
  ++pieces_done_;
  return true;
}

bool Executor::in_last_lap(const Piece& piece) const {
  return piece.index + plan_->slots() >= plan_->pieces;
}

// A slot of the last lap is not used again in this operation. In the next one no rank of another
// node touches it before this rank has begun that, too: large puts wait for its ready message,
// small data is kept until the piece is there.
bool Executor::needs_no_credit(const Piece& piece, const Step& step) const {
  return step.previous_lap && in_last_lap(piece) && !services_.is_local(step.peer);
}

// Slots of local peers were given back with signals that nobody has waited for; they belong to this
// operation and must not be taken for a later one's.
void Executor::owe_credits(const Piece& piece) {
  if (!in_last_lap(piece)) return;
  for (const Step& step : piece.schedule->steps) {
    if (step.kind == StepKind::kWait && step.previous_lap && services_.is_local(step.peer)) {
      owed_credits_.emplace_back(step.peer, tag_of(piece, step.tag));
    }
  }
}

bool Executor::collect_credits() {
  const size_t before = owed_credits_.size();
  std::erase_if(owed_credits_, [this](const std::pair<int, uint64_t>& owed) {
    return inbox_of(owed.first).take_notification(owed.second);
  });
  if (!owed_credits_.empty()) return owed_credits_.size() != before;
  if (services_.local != nullptr) services_.local->finish(sequence_);
  input_memory_.reset();
  output_memory_.reset();
  stage_ = Stage::kIdle;
  return true;
}

void Executor::abandon() {
  stage_ = Stage::kIdle;
  input_memory_.reset();
  output_memory_.reset();
}

std::string Executor::describe() const {
  if (stage_ == Stage::kIdle) return "idle";
  std::string text = fmt::format(
      "operation {}: {} by {}, {} of {} pieces done", sequence_, to_string(call_.fingerprint()),
      plan_->decision.chosen.algorithm->name, pieces_done_, plan_->pieces);
  for (const Piece& piece : slots_) {
    if (!piece.active) continue;
    const bool at_step = piece.pc < piece.schedule->steps.size();
    const int peer = at_step ? piece.schedule->steps[piece.pc].peer : kSelf;
    text += fmt::format("; piece {} at step {} of {}", piece.index, piece.pc,
                        piece.schedule->steps.size());
    if (peer != kSelf) text += fmt::format(", waits for rank {}", peer);
    if (piece.unacknowledged > 0)
      text += fmt::format(", {} puts not acknowledged", piece.unacknowledged);
  }
  return text;
}

}  // namespace railccl
