#include "src/core/local_small.h"

#include <algorithm>
#include <cstring>

namespace railccl {
namespace {

constexpr uint64_t kCounterMask = 0xffff;

uint64_t add_to_history(uint64_t history, uint64_t fingerprint, uint64_t sequence) {
  uint64_t hash = (history ^ fingerprint) + sequence * 0x9e3779b97f4a7c15;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 33);
}

bool has_block_per_rank(Collective collective) {
  return collective == Collective::kReduceScatter || collective == Collective::kAllToAll ||
         collective == Collective::kScatter;
}

// The root alone gives data to the others.
bool is_from_root(Collective collective) {
  return collective == Collective::kBroadcast || collective == Collective::kScatter;
}

void copy(std::byte* dst, const std::byte* src, size_t bytes) {
  if (dst != src && bytes != 0) std::memcpy(dst, src, bytes);
}

}  // namespace

bool LocalDomain::small_suits(Collective collective, uint64_t count, DataType type, int ranks) {
  if (collective == Collective::kSendRecv || count > kMaxSmallBytes) return false;
  const uint64_t blocks = has_block_per_rank(collective) ? static_cast<uint64_t>(ranks) : 1;
  return count * element_bytes(type) * blocks <= kMaxSmallBytes;
}

LocalSmall::LocalSmall(std::shared_ptr<LocalSegment> segment, int self, LocalDoorbell& doorbell,
                       const LocalBoard& board)
    : segment_(std::move(segment)),
      self_(self),
      ranks_(segment_->layout().ranks),
      doorbell_(doorbell),
      board_(board) {
  for (int rank = 0; rank < ranks_; ++rank) areas_.push_back(segment_->small_area(rank));
  sources_.resize(areas_.size());
}

void LocalSmall::begin(const Call& call) {
  call_ = call;
  block_bytes_ = call.count * element_bytes(call.type);
  payload_bytes_ = block_bytes_ * (has_block_per_rank(call.collective) ? areas_.size() : 1);
  ++counter_;
  history_ = add_to_history(history_, call.fingerprint, call.sequence);
  flag_ = (history_ & ~kCounterMask) | (counter_ & kCounterMask);
  next_ = 0;
  progress_ = Progress::kWaiting;
  rung_ = false;
  published_ = publish();
}

LocalSmall::Progress LocalSmall::step() {
  if (progress_ != Progress::kWaiting) return progress_;
  if (!published_) published_ = publish();
  progress_ = published_ ? collect() : Progress::kWaiting;
  return progress_ == Progress::kDone ? complete() : not_complete();
}

bool LocalSmall::publish() {
  if (!has_room()) return false;
  if (gives_data()) copy(published_by(self_), call_.input, payload_bytes_);
  if (has_payload()) payload_of(self_).flag.store(flag_, std::memory_order_release);
  SmallNote& note = note_of(self_, counter_);
  note.fingerprint.store(call_.fingerprint, std::memory_order_relaxed);
  note.sequence.store(call_.sequence, std::memory_order_release);
  line_of(self_).flag.store(flag_, std::memory_order_release);
  return true;
}

// A slot is free again when all have completed the call it was for. Who finds none free waits until
// half of them are: looking after every call would take the others' counters from their caches each
// time. They complete all calls before this one without this rank's help.
bool LocalSmall::has_room() {
  const uint64_t slots = has_payload() ? kSmallPayloads : kSmallLines;
  if (counter_ <= slots) return true;
  waits_for_room_ = !all_done(counter_ - slots + (waits_for_room_ ? slots / 2 : 0));
  return !waits_for_room_;
}

bool LocalSmall::gives_data() const {
  if (!is_rooted(call_.collective)) return true;
  return is_from_root(call_.collective) == (self_ == call_.root_index);
}

bool LocalSmall::all_done(uint64_t counter) {
  if (counter <= done_by_all_) return true;
  uint64_t least = ~uint64_t{0};
  for (int rank = 0; rank < ranks_; ++rank) {
    if (rank == self_) continue;
    least = std::min(least, segment_->state(rank).small_done.load(std::memory_order_acquire));
  }
  done_by_all_ = least;
  return counter <= done_by_all_;
}

LocalSmall::Progress LocalSmall::collect() {
  const bool is_root = self_ == call_.root_index;
  if (is_from_root(call_.collective)) {
    return is_root ? Progress::kDone : look_at(call_.root_index);
  }
  if (is_rooted(call_.collective) && !is_root) return Progress::kDone;
  for (; next_ < ranks_; ++next_) {
    if (const Progress found = look_at(next_); found != Progress::kDone) return found;
  }
  return Progress::kDone;
}

LocalSmall::Progress LocalSmall::look_at(int rank) {
  if (rank == self_) return Progress::kDone;
  awaited_ = rank;
  // Only lines are written at every call, so only their counters tell "not yet" from "another".
  if (has_payload() && payload_of(rank).flag.load(std::memory_order_acquire) == flag_) {
    return Progress::kDone;
  }
  const uint64_t flag = line_of(rank).flag.load(std::memory_order_acquire);
  if (flag == flag_) return Progress::kDone;
  if (((flag ^ flag_) & kCounterMask) != 0) return Progress::kWaiting;
  find_difference(rank);
  return Progress::kMismatch;
}

LocalSmall::Progress LocalSmall::not_complete() {
  // Only now, so that the barrier in it is not between writing our line and asking for theirs.
  if (published_ && !rung_) {
    doorbell_.ring_all();
    rung_ = true;
  }
  if (progress_ == Progress::kWaiting && published_) find_other_call();
  return progress_;
}

// Notes of the last kSmallLines calls are there; an older difference shows as one of this call.
void LocalSmall::find_difference(int rank) {
  const uint64_t oldest = counter_ > kSmallLines ? counter_ - kSmallLines + 1 : 1;
  for (uint64_t counter = oldest; counter <= counter_; ++counter) {
    const SmallNote& mine = note_of(self_, counter);
    const SmallNote& theirs = note_of(rank, counter);
    mismatch_ = {.index = rank,
                 .sequence = mine.sequence.load(std::memory_order_acquire),
                 .mine = mine.fingerprint.load(std::memory_order_relaxed),
                 .theirs = theirs.fingerprint.load(std::memory_order_relaxed)};
    if (mismatch_.mine != mismatch_.theirs) return;
  }
}

// The rank that is waited for may never come, because it called something that is not small.
void LocalSmall::find_other_call() {
  if (board_.ready(awaited_, call_.sequence) == nullptr) return;
  mismatch_ = {
      .index = awaited_, .sequence = call_.sequence, .mine = call_.fingerprint, .theirs = 0};
  progress_ = Progress::kMismatch;
}

LocalSmall::Progress LocalSmall::complete() {
  combine();
  segment_->state(self_).small_done.store(counter_, std::memory_order_release);
  // Who waited for all knows that all have completed the call before.
  if (!is_rooted(call_.collective)) done_by_all_ = std::max(done_by_all_, counter_ - 1);
  doorbell_.ring_all();
  return progress_;
}

void LocalSmall::combine() {
  const bool is_root = self_ == call_.root_index;
  switch (call_.collective) {
    case Collective::kAllReduce:
      return reduce(0);
    case Collective::kReduce:
      return is_root ? reduce(0) : void();
    case Collective::kReduceScatter:
      return reduce(static_cast<size_t>(self_) * block_bytes_);
    case Collective::kBroadcast:
      return copy(call_.output, is_root ? call_.input : data_of(call_.root_index), block_bytes_);
    case Collective::kScatter: {
      const std::byte* blocks = is_root ? call_.input : data_of(call_.root_index);
      return copy(call_.output, blocks + static_cast<size_t>(self_) * block_bytes_, block_bytes_);
    }
    case Collective::kGather:
      return is_root ? gather() : void();
    case Collective::kAllGather:
    case Collective::kAllToAll:
      return gather();
    case Collective::kSendRecv:
      return;  // small_suits() says no
  }
}

void LocalSmall::reduce(size_t block_offset) {
  if (call_.count == 0) return;
  for (size_t rank = 0; rank < sources_.size(); ++rank) {
    sources_[rank] = data_of(static_cast<int>(rank)) + block_offset;
  }
  std::byte* const outputs[] = {call_.output};
  host_compute().submit(ReduceWork{.dsts = outputs,
                                   .srcs = sources_,
                                   .count = call_.count,
                                   .type = call_.type,
                                   .op = call_.op,
                                   .divide_by = call_.divide_by});
}

void LocalSmall::gather() {
  const bool all_to_all = call_.collective == Collective::kAllToAll;
  const size_t offset = all_to_all ? static_cast<size_t>(self_) * block_bytes_ : 0;
  for (int rank = 0; rank < ranks_; ++rank) {
    // In place, an all-to-all overwrites its own input; what it published is still there.
    const std::byte* const blocks = all_to_all ? published_by(rank) : data_of(rank);
    copy(call_.output + static_cast<size_t>(rank) * block_bytes_, blocks + offset, block_bytes_);
  }
}

const std::byte* LocalSmall::data_of(int rank) const {
  return rank == self_ ? call_.input : published_by(rank);
}

std::byte* LocalSmall::published_by(int rank) const {
  return has_payload() ? payload_of(rank).data : line_of(rank).data;
}

bool LocalSmall::has_payload() const { return payload_bytes_ > kLineData; }

SmallPayload& LocalSmall::payload_of(int rank) const {
  return areas_[static_cast<size_t>(rank)]->payloads[counter_ % kSmallPayloads];
}

SmallLine& LocalSmall::line_of(int rank) const {
  return areas_[static_cast<size_t>(rank)]->lines[counter_ % kSmallLines];
}

SmallNote& LocalSmall::note_of(int rank, uint64_t counter) const {
  return areas_[static_cast<size_t>(rank)]->notes[counter % kSmallLines];
}

std::optional<uint64_t> LocalSmall::called(int rank, uint64_t sequence) const {
  for (const SmallNote& note : areas_[static_cast<size_t>(rank)]->notes) {
    if (note.sequence.load(std::memory_order_acquire) == sequence) {
      return note.fingerprint.load(std::memory_order_relaxed);
    }
  }
  return std::nullopt;
}

}  // namespace railccl
