// A group of sends and receives on memory of a GPU, staged: each transfer in segments through slots
// of pinned memory. There may be more transfers than slots; so that no cycle of ranks waits for
// each other's slots, all ranks serve first the transfers whose peer is nearest, counted upwards
// from the sender and downwards from the receiver: those of the smallest distance that is left
// anywhere have slots at both ends.
#include <algorithm>
#include <array>
#include <vector>

#include "src/core/device_task.h"

namespace railccl {
namespace {

constexpr uint64_t kSegmentBytes = 1 << 20;  // at most; the same on all ranks
constexpr uint64_t kAlignment = 128;
constexpr size_t kSegmentsAtOnce = 4;  // of one transfer

class TransfersTask final : public DeviceTask {
 public:
  TransfersTask(const DeviceTaskServices& services, const std::vector<P2pTransfer>& transfers);
  Result<bool> step() override;
  bool all_submitted() const override { return finished(); }
  bool finished() const override;

 private:
  struct Transfer {
    P2pTransfer call;
    int distance = 0;
    uint64_t segments = 1;
    uint64_t granted = 0;        // segments that have or had a slot
    uint64_t submitted = 0;      // to the communicator
    uint64_t under_way = 0;      // slots it has now
    Transfer* before = nullptr;  // of the same peer and direction, called earlier
    bool all_submitted() const { return submitted == segments; }
  };
  enum class Stage : uint8_t { kFree, kFilling, kRunning, kEmptying };
  struct Slot {
    Stage stage = Stage::kFree;
    bool for_sends = false;
    PinnedSlot place;
    Transfer* transfer = nullptr;
    uint64_t segment = 0;
    Compute::Ticket ticket = 0;
    std::shared_ptr<Operation> operation;
  };

  Status start();
  Status match_self();
  void order();
  bool grant(Slot& slot);
  Transfer* next_for(bool is_send);
  Result<bool> advance(Slot& slot);
  Result<bool> submit(Slot& slot);
  P2pTransfer part(const Transfer& transfer, uint64_t segment) const;
  void release(Slot& slot);
  // Whole elements of every type.
  uint64_t segment_bytes() const {
    return std::min(kSegmentBytes, services_.pinned.slot_bytes) / kAlignment * kAlignment;
  }

  DeviceTaskServices services_;
  bool started_ = false;
  std::vector<P2pTransfer> to_self_;
  std::vector<Compute::Ticket> self_copies_;
  std::vector<Transfer> transfers_;  // by distance
  std::vector<Slot> slots_;
};

TransfersTask::TransfersTask(const DeviceTaskServices& services,
                             const std::vector<P2pTransfer>& transfers)
    : services_(services) {
  const int rank = services.communicator.rank();
  const int ranks = services.communicator.ranks();
  for (const P2pTransfer& call : transfers) {
    if (call.peer == rank) {
      to_self_.push_back(call);
      continue;
    }
    const int ahead = call.is_send ? call.peer - rank : rank - call.peer;
    const uint64_t segments = (call.bytes() + segment_bytes() - 1) / segment_bytes();
    transfers_.push_back({.call = call,
                          .distance = (ahead + ranks) % ranks,
                          .segments = std::max<uint64_t>(segments, 1)});
  }
  order();
  for (uint64_t offset = 0; offset + segment_bytes() <= services.pinned.bytes();
       offset += segment_bytes()) {
    slots_.push_back({.for_sends = slots_.size() % 2 == 0, .place = services.pinned.at(offset)});
  }
}

void TransfersTask::order() {
  std::ranges::stable_sort(transfers_, {}, &Transfer::distance);
  for (size_t i = 0; i < transfers_.size(); ++i) {
    for (size_t j = i; j-- > 0 && transfers_[j].distance == transfers_[i].distance;) {
      if (transfers_[j].call.is_send != transfers_[i].call.is_send) continue;
      transfers_[i].before = &transfers_[j];
      break;
    }
  }
}

// Sends to the own rank meet its receives, in their order; nothing of them leaves the GPU.
Status TransfersTask::match_self() {
  std::vector<P2pTransfer> sends;
  std::vector<P2pTransfer> receives;
  for (const P2pTransfer& call : to_self_) (call.is_send ? sends : receives).push_back(call);
  const int rank = services_.communicator.rank();
  if (sends.size() != receives.size()) {
    return error(Code::kInvalidUsage,
                 "rank {} has {} sends to itself and {} receives from itself in one group", rank,
                 sends.size(), receives.size());
  }
  for (size_t i = 0; i < sends.size(); ++i) {
    if (sends[i].bytes() != receives[i].bytes()) {
      return error(Code::kMismatch, "rank {} sends {} bytes to itself and receives {}", rank,
                   sends[i].bytes(), receives[i].bytes());
    }
    if (sends[i].bytes() == 0) continue;
    self_copies_.push_back(services_.queue.submit(
        BlockCopy{.dst = receives[i].buffer, .src = sends[i].buffer, .bytes = sends[i].bytes()}));
  }
  return Status::ok();
}

Result<bool> TransfersTask::step() {
  bool worked = false;
  if (!started_) {
    RAILCCL_TRY(match_self());
    started_ = true;
    worked = true;
  }
  worked |= std::erase_if(self_copies_, [this](Compute::Ticket ticket) {
              return services_.queue.done(ticket);
            }) > 0;
  for (Slot& slot : slots_) {
    if (slot.stage == Stage::kFree) worked |= grant(slot);
    if (slot.stage == Stage::kFree) continue;
    RAILCCL_ASSIGN(const bool moved, advance(slot));
    worked |= moved;
  }
  return worked;
}

bool TransfersTask::finished() const {
  return started_ && self_copies_.empty() &&
         std::ranges::all_of(transfers_, &Transfer::all_submitted) &&
         std::ranges::all_of(slots_, [](const Slot& slot) { return slot.stage == Stage::kFree; });
}

// The nearest that has no slot; else the nearest that may have another.
TransfersTask::Transfer* TransfersTask::next_for(bool is_send) {
  const auto wants = [is_send](const Transfer& transfer, uint64_t at_most) {
    return transfer.call.is_send == is_send && transfer.granted < transfer.segments &&
           transfer.under_way < at_most;
  };
  for (const uint64_t at_most : {uint64_t{1}, uint64_t{kSegmentsAtOnce}}) {
    for (Transfer& transfer : transfers_) {
      if (wants(transfer, at_most)) return &transfer;
    }
  }
  return nullptr;
}

bool TransfersTask::grant(Slot& slot) {
  Transfer* const transfer = next_for(slot.for_sends);
  if (transfer == nullptr) return false;
  slot.transfer = transfer;
  slot.segment = transfer->granted++;
  ++transfer->under_way;
  slot.stage = Stage::kFilling;
  slot.ticket = 0;
  const P2pTransfer piece = part(*transfer, slot.segment);
  if (piece.is_send && piece.bytes() > 0) {
    slot.ticket = services_.queue.submit(
        BlockCopy{.dst = slot.place.device, .src = piece.buffer, .bytes = piece.bytes()});
  }
  return true;
}

P2pTransfer TransfersTask::part(const Transfer& transfer, uint64_t segment) const {
  const uint64_t element = element_bytes(transfer.call.type);
  const uint64_t most = segment_bytes() / element;
  P2pTransfer piece = transfer.call;
  piece.buffer += segment * most * element;
  piece.count = std::min(most, transfer.call.count - segment * most);
  piece.more = segment + 1 < transfer.segments;
  return piece;
}

Result<bool> TransfersTask::advance(Slot& slot) {
  switch (slot.stage) {
    case Stage::kFree:
      return false;
    case Stage::kFilling:
      return submit(slot);
    case Stage::kRunning: {
      if (!slot.operation->completion.done()) return false;
      RAILCCL_TRY(slot.operation->completion.status());
      const P2pTransfer piece = part(*slot.transfer, slot.segment);
      slot.ticket = 0;
      if (!piece.is_send && piece.bytes() > 0) {
        slot.ticket = services_.queue.submit(
            BlockCopy{.dst = piece.buffer, .src = slot.place.device, .bytes = piece.bytes()});
      }
      slot.stage = Stage::kEmptying;
      return true;
    }
    case Stage::kEmptying:
      if (!services_.queue.done(slot.ticket)) return false;
      release(slot);
      return true;
  }
  return false;
}

// In the order in which the peer expects them.
Result<bool> TransfersTask::submit(Slot& slot) {
  Transfer& transfer = *slot.transfer;
  if (!services_.queue.done(slot.ticket) || transfer.submitted != slot.segment) return false;
  if (transfer.before != nullptr && !transfer.before->all_submitted()) return false;
  slot.operation = std::make_shared<Operation>();
  P2pTransfer piece = part(transfer, slot.segment);
  piece.buffer = slot.place.host;
  slot.operation->transfers = {piece};
  RAILCCL_TRY(services_.communicator.submit(slot.operation));
  ++transfer.submitted;
  slot.stage = Stage::kRunning;
  return true;
}

void TransfersTask::release(Slot& slot) {
  --slot.transfer->under_way;
  slot.transfer = nullptr;
  slot.operation.reset();
  slot.stage = Stage::kFree;
}

}  // namespace

std::unique_ptr<DeviceTask> make_transfers_task(const DeviceTaskServices& services,
                                                const std::vector<P2pTransfer>& transfers) {
  return std::make_unique<TransfersTask>(services, transfers);
}

}  // namespace railccl
