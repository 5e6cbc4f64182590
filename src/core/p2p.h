// Runs groups of point-to-point transfers. Between nodes: small ones as messages, large ones by a
// put into the receiver's buffer once it has said where. Inside a node: through slots in the
// sender's shared scratch, whole when they fit, else read by the receiver straight from the
// sender's buffer, or slot by slot where it cannot. Transfers of one pair match in the order in
// which they were called on both sides.
//
// Threading: the driver of the communicator. step() never blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "src/core/executor.h"

namespace railccl {

// Shared scratch of a rank that point-to-point slots take, before the slots of schedules.
constexpr int kP2pSlots = 4;
constexpr uint64_t kP2pSlotBytes = 65536;
constexpr uint64_t p2p_scratch_bytes(int local_ranks) {
  return static_cast<uint64_t>(local_ranks) * kP2pSlots * kP2pSlotBytes;
}

class P2p {
 public:
  explicit P2p(const ExecutorServices& services);

  Status begin(const std::vector<P2pTransfer>& transfers, TimeNs now);
  Result<bool> step(TimeNs now);
  bool finished() const { return transfers_.empty(); }
  void on_put_done(uint64_t token);
  void abandon();
  std::string describe() const;

 private:
  enum class Stage : uint8_t { kStart, kInFlight, kDone };

  struct Transfer {
    P2pTransfer call;
    uint32_t sequence = 0;  // within its pair and direction
    Stage stage = Stage::kStart;
    uint64_t moved = 0;      // bytes, local chunks
    uint32_t last_slot = 0;  // local: number of the slot that ends it
    std::shared_ptr<const RegisteredBuffer> memory;
  };

  // What a pair of ranks has done so far; lives as long as the communicator.
  struct Pair {
    uint32_t sends = 0;
    uint32_t receives = 0;
    uint32_t slots_filled = 0;  // of ours, for the peer to read
    uint32_t slots_freed = 0;
    uint32_t slots_read = 0;  // of the peer's
  };

  Result<bool> advance(Transfer& transfer, TimeNs now);
  Status match_self();
  bool first_of_its_pair(const Transfer& transfer) const;

  Result<bool> send_remote(Transfer& transfer, TimeNs now);
  Result<bool> send_remote_bulk(Transfer& transfer, TimeNs now);
  Result<bool> receive_remote(Transfer& transfer, TimeNs now);
  Result<bool> receive_remote_bulk(Transfer& transfer, TimeNs now);
  Result<bool> ask_sender(Transfer& transfer, TimeNs now);

  Result<bool> send_local(Transfer& transfer);
  Result<bool> receive_local(Transfer& transfer);
  Status take_from_slot(Transfer& transfer, const std::byte* slot);
  void collect_freed(int peer);

  Status mismatch(const Transfer& transfer, const Fingerprint& theirs) const;
  bool is_local(int peer) const;
  int local_index(int rank) const;
  Inbox& inbox_of(int peer) const { return (*services_.inboxes)[static_cast<size_t>(peer)]; }
  Pair& pair_of(int peer) { return pairs_[static_cast<size_t>(peer)]; }

  ExecutorServices services_;
  std::vector<Pair> pairs_;       // by rank
  std::vector<bool> slot_taken_;  // by rank: emptied, but the sender does not know yet
  std::vector<Transfer> transfers_;
  size_t left_ = 0;
  TimeNs began_ = 0;
};

}  // namespace railccl
