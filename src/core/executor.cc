#include "src/core/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace railccl {

Executor::Executor(const ExecutorServices& services)
    : services_(services), operands_(services.layout, services.local, services.scratch) {}

bool Executor::is_local(int peer) const {
  const auto& node_of = services_.layout->node_of;
  return node_of[static_cast<size_t>(peer)] == node_of[static_cast<size_t>(services_.rank)];
}

Status Executor::begin(const Call& call, const Arithmetic& arithmetic, uint64_t sequence,
                       std::shared_ptr<const OperationPlan> plan, TimeNs now) {
  call_ = call;
  arithmetic_ = arithmetic;
  sequence_ = sequence;
  plan_ = std::move(plan);
  operands_.begin(call, arithmetic.input, sequence);
  streaming_ = call.count * call.element() >= services_.streaming_bytes;
  const auto slots = static_cast<size_t>(plan_->channels * plan_->depth);
  slots_.assign(slots, Piece{});
  next_lap_.assign(static_cast<size_t>(plan_->channels), 0);
  pieces_done_ = 0;
  announced_ = 0;
  published_ = services_.local == nullptr;
  owed_credits_.clear();
  stage_ = Stage::kAnnounce;
  for (const int peer : plan_->remote_peers) {
    RAILCCL_TRY(services_.peers->ensure(peer, now));
    RAILCCL_TRY(check_arrived(peer));
  }
  return acquire_rail_memory();
}

Status Executor::acquire_rail_memory() {
  if (plan_->remote_peers.empty() || plan_->all_eager) return Status::ok();
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

// What came before this rank began the operation must be of the same call.
Status Executor::check_arrived(int peer) const {
  Inbox& inbox = inbox_of(peer);
  for (const Inbox::Ready& ready : inbox.ready()) {
    RAILCCL_TRY(check(peer, ready.sequence, ready.fingerprint));
  }
  for (const Inbox::Data& data : inbox.data()) {
    RAILCCL_TRY(check(peer, data.header.sequence, data.header.fingerprint));
  }
  return Status::ok();
}

Status Executor::check(int peer, uint64_t sequence, const Fingerprint& fingerprint) const {
  if (stage_ == Stage::kIdle ||
      static_cast<uint32_t>(sequence) != static_cast<uint32_t>(sequence_)) {
    return Status::ok();
  }
  const Fingerprint mine = call_.fingerprint();
  if (mine == fingerprint) return Status::ok();
  return error(Code::kMismatch,
               "operation {} of the communicator differs between ranks: rank {} called {}, rank {} "
               "called {}",
               sequence_, services_.rank, to_string(mine), peer, to_string(fingerprint));
}

Result<bool> Executor::step(TimeNs now) {
  bool worked = false;
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

// Tells local peers where the buffers are, and the remote ranks that will put where they may.
Result<bool> Executor::announce(TimeNs now) {
  bool worked = false;
  if (!published_) {
    const Fingerprint mine = call_.fingerprint();
    const int ranks = services_.layout->ranks();
    const ReadyRecord ready{
        .sequence = sequence_,
        .fingerprint = {mine.kind, mine.count, 0, 0},
        .input =
            LocalDomain::handle_of(arithmetic_.input, input_bytes(call_, services_.rank, ranks)),
        .output = LocalDomain::handle_of(call_.output, output_bytes(call_, services_.rank, ranks))};
    published_ = services_.local->publish(ready);
    if (!published_) return false;
    worked = true;
  }
  while (!plan_->all_eager && announced_ < plan_->remote_senders.size()) {
    RAILCCL_ASSIGN(const bool sent, send_ready(plan_->remote_senders[announced_], now));
    if (!sent) return worked;
    ++announced_;
    worked = true;
  }
  stage_ = Stage::kRun;
  drain_kept_data();
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
  if (started && stage_ == Stage::kRun) drain_kept_data();
  return started;
}

OperandPlace Executor::place_of(const Piece& piece) const {
  const auto slot = static_cast<uint64_t>(&piece - slots_.data());
  return {.first_element = piece.index * plan_->piece_elements,
          .slot_offset = slot * plan_->slot_bytes};
}

Result<bool> Executor::run_piece(Piece& piece, TimeNs now) {
  bool worked = false;
  if (piece.computing) {
    if (!services_.compute->done(piece.ticket)) return false;
    piece.computing = false;
  }
  while (piece.pc < piece.schedule->steps.size()) {
    const Step& step = piece.schedule->steps[piece.pc];
    RAILCCL_ASSIGN(const Outcome outcome, run_step(piece, step, now));
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

Result<Executor::Outcome> Executor::run_step(Piece& piece, const Step& step, TimeNs now) {
  switch (step.kind) {
    case StepKind::kWait:
      return wait(piece, step);
    case StepKind::kSignal:
      return signal(piece, step, now);
    case StepKind::kPut:
      return is_local(step.peer) ? put_local(piece, step) : put_remote(piece, step, now);
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
    const auto lap = static_cast<uint64_t>(plan_->channels * plan_->depth);
    if (index < lap) return Outcome::kAdvanced;
    index -= lap;
  }
  const uint64_t tag = operation_tag(sequence_, index, step.tag);
  if (inbox_of(step.peer).take_notification(tag)) return Outcome::kAdvanced;
  // A peer that has begun something else will never say this.
  RAILCCL_TRY(is_local(step.peer) ? local_peer_status(step.peer) : check_arrived(step.peer));
  return Outcome::kBlocked;
}

Result<Executor::Outcome> Executor::signal(const Piece& piece, const Step& step, TimeNs now) {
  const uint64_t tag = tag_of(piece, step.tag);
  // A credit also says that this rank's puts out of the slot are over.
  if (step.previous_lap && piece.unacknowledged > 0) return Outcome::kBlocked;
  if (is_local(step.peer)) {
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
  return sent ? Outcome::kAdvanced : Outcome::kBlocked;
}

uint64_t Executor::remote_offset(const Slice& dst, const OperandPlace& place) const {
  if (dst.buffer == BufferId::kScratch) return place.slot_offset + dst.offset * call_.element();
  return (place.first_element + dst.offset) * call_.element();
}

Result<Executor::Outcome> Executor::put_bulk(Piece& piece, const Step& step, TimeNs now) {
  const Inbox::Ready* ready = find_ready(step.peer);
  if (ready == nullptr || !services_.peers->connected(step.peer)) return Outcome::kBlocked;
  RAILCCL_TRY(check(step.peer, ready->sequence, ready->fingerprint));
  const Slice& dst = piece.schedule->slices[step.first_slice];
  const Slice& src = piece.schedule->slices[step.first_slice + step.num_dsts];
  const OperandPlace place = place_of(piece);
  const std::byte* source = operands_.own(src, place);
  const RegisteredBuffer* memory = nullptr;
  switch (src.buffer) {
    case BufferId::kInput:
      memory = input_memory_.get();
      break;
    case BufferId::kOutput:
      memory = output_memory_.get();
      break;
    case BufferId::kScratch:
      memory = services_.scratch_memory;
      break;
  }
  if (memory == nullptr) {
    return error(Code::kInternalError, "a put reads from a buffer that rank {} does not have",
                 services_.rank);
  }
  const bool to_scratch = dst.buffer == BufferId::kScratch;
  const RemoteBuffer& target =
      to_scratch ? services_.peers->remote_scratch(step.peer) : ready->target;
  const LinkPut put{.token = static_cast<uint64_t>(&piece - slots_.data()),
                    .source = memory,
                    .source_offset = static_cast<uint64_t>(source - memory->region.address),
                    .bytes = step.count * call_.element(),
                    .target = &target,
                    .target_offset = remote_offset(dst, place) + (to_scratch ? 0 : ready->offset),
                    .tag = tag_of(piece, step.tag)};
  RAILCCL_TRY(services_.peers->put(step.peer, put, now));
  ++piece.unacknowledged;
  return Outcome::kAdvanced;
}

const Inbox::Ready* Executor::find_ready(int peer) {
  auto& queue = inbox_of(peer).ready();
  const auto wanted = static_cast<uint32_t>(sequence_);
  while (!queue.empty() && static_cast<int32_t>(queue.front().sequence - wanted) < 0) {
    queue.pop_front();
  }
  return !queue.empty() && queue.front().sequence == wanted ? &queue.front() : nullptr;
}

// Copies or reduces, a block at a time, so that the network is not left alone for long.
Result<Executor::Outcome> Executor::combine(Piece& piece, const Step& step,
                                            std::span<const Slice> dsts,
                                            std::span<const Slice> srcs) {
  if (piece.done_elements == step.count) return Outcome::kAdvanced;
  if (piece.done_elements == 0) {
    RAILCCL_ASSIGN(const bool ready, owners_ready(dsts, srcs));
    if (!ready) return Outcome::kBlocked;
  }
  const uint64_t count = std::min(step.count - piece.done_elements, operands_.max_block());
  const Operands::Work work{.dsts = dsts,
                            .srcs = srcs,
                            .begin = piece.done_elements,
                            .count = count,
                            .op = arithmetic_.op,
                            .divide_by = step.final ? arithmetic_.divide_by : 1,
                            .streaming = streaming_ && dsts[0].buffer != BufferId::kScratch};
  RAILCCL_ASSIGN(piece.ticket, operands_.compute(work, place_of(piece), *services_.compute));
  piece.done_elements += count;
  piece.computing = !services_.compute->done(piece.ticket);
  const bool whole = piece.done_elements == step.count && !piece.computing;
  return whole ? Outcome::kAdvanced : Outcome::kMoved;
}

Result<bool> Executor::owners_ready(std::span<const Slice> dsts, std::span<const Slice> srcs) {
  for (const std::span<const Slice> slices : {dsts, srcs}) {
    for (const Slice& slice : slices) {
      if (slice.owner == kSelf) continue;
      RAILCCL_ASSIGN(const bool ready, local_peer_ready(slice.owner));
      if (!ready) return false;
    }
  }
  return true;
}

// Whether the peer has begun this operation; an error when it has begun another one.
Result<bool> Executor::local_peer_ready(int peer) {
  const int index = services_.layout->local_index[static_cast<size_t>(peer)];
  const ReadyRecord* ready = services_.local->ready(index, sequence_);
  if (ready == nullptr) {
    if (const auto small = services_.local->small_called(index, sequence_)) {
      RAILCCL_TRY(check(peer, sequence_, unpack_small(*small)));
    }
    return false;
  }
  RAILCCL_TRY(check(peer, sequence_, {ready->fingerprint[0], ready->fingerprint[1]}));
  return true;
}

// Slots of peers were given back with signals that nobody has waited for; they belong to this
// operation and must not be taken for a later one's.
void Executor::owe_credits(const Piece& piece) {
  const auto lap = static_cast<uint64_t>(plan_->channels * plan_->depth);
  if (piece.index + lap < plan_->pieces) return;
  for (const Step& step : piece.schedule->steps) {
    if (step.kind == StepKind::kWait && step.previous_lap) {
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

void Executor::on_put_done(uint64_t token) {
  if (stage_ == Stage::kIdle || token >= slots_.size()) return;
  if (slots_[token].unacknowledged > 0) --slots_[token].unacknowledged;
}

bool Executor::on_small_data(int peer, const MessageHeader& header,
                             std::span<const std::byte> body) {
  const bool running = stage_ == Stage::kRun || stage_ == Stage::kCollectCredits;
  const bool current = running && header.sequence == static_cast<uint32_t>(sequence_);
  if (!current || !place_small_data(header, body)) return false;
  inbox_of(peer).add_notification(header.tag);
  return true;
}

// False: its piece has not begun, so its scratch slot may still be in use.
bool Executor::place_small_data(const MessageHeader& header, std::span<const std::byte> body) {
  if (body.empty()) return true;
  const uint64_t index = header.tag >> kTagBits & ((uint64_t{1} << kPieceBits) - 1);
  const auto piece = std::find_if(slots_.begin(), slots_.end(), [&](const Piece& candidate) {
    return candidate.active && candidate.index == index;
  });
  if (piece == slots_.end()) return false;
  std::byte* base = nullptr;
  uint64_t limit = 0;
  if (header.buffer == static_cast<uint8_t>(BufferId::kScratch)) {
    base = services_.scratch.own;
    limit = services_.scratch.bytes;
  } else {
    base = call_.output;
    limit = output_bytes(call_, services_.rank, services_.layout->ranks());
  }
  if (header.offset > limit || body.size() > limit - header.offset) {
    bad_data_ = true;
    return true;
  }
  std::memcpy(base + header.offset, body.data(), body.size());
  return true;
}

void Executor::drain_kept_data() {
  for (const int peer : plan_->remote_senders) {
    auto& queue = inbox_of(peer).data();
    for (auto entry = queue.begin(); entry != queue.end();) {
      const bool current = entry->header.sequence == static_cast<uint32_t>(sequence_);
      if (!current || !place_small_data(entry->header, entry->body)) {
        ++entry;
        continue;
      }
      inbox_of(peer).add_notification(entry->header.tag);
      services_.peers->consumed(peer, entry->body.size());
      entry = queue.erase(entry);
    }
  }
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
