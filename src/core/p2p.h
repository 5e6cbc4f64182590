// Runs groups of point-to-point transfers. Between nodes: small ones as messages, large ones by a
// put into the receiver's buffer once it has said where. Inside a node: through slots in the
// sender's shared scratch, whole when they fit, else read by the receiver straight from the
// sender's buffer, or slot by slot where it cannot. Transfers of one pair match in the order in
// which they were called on both sides.
//
// Threading: the driver of the communicator. step() never blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "src/core/control_path.h"
#include "src/core/executor.h"
#include "src/core/operation.h"

namespace railccl {

// Shared scratch of a rank that point-to-point slots take, before the slots of schedules.
constexpr int kP2pSlots = 4;
constexpr uint64_t kP2pSlotBytes = 65536;
constexpr uint64_t p2p_scratch_bytes(int local_ranks) {
  return static_cast<uint64_t>(local_ranks) * kP2pSlots * kP2pSlotBytes;
}

// Marks the tokens of puts of this class among those of the communicator.
constexpr uint64_t kP2pToken = uint64_t{1} << 63;

class P2p {
 public:
  explicit P2p(const ExecutorServices& services);

  // Adds a group to those under way; several may be, and end in any order.
  Status begin(const std::shared_ptr<Operation>& group, TimeNs now);
  Result<bool> step(TimeNs now);
  bool idle() const { return groups_.empty(); }
  // Groups that have ended since the last call, without error.
  std::vector<std::shared_ptr<Operation>> take_finished();
  // Of a put with a token of this object (kP2pToken is set).
  void on_put_done(uint64_t token);
  // All groups under way, which will not be run any further.
  std::vector<std::shared_ptr<Operation>> abandon();
  std::string describe() const;
  struct Partner {
    int rank = 0;
    std::string transfer;
  };
  // The first transfer that is not over and has one of these ranks for its partner.
  std::optional<Partner> waiting_for(const std::map<int, Departure>& departures) const;

 private:
  enum class Stage : uint8_t { kStart, kInFlight, kDone };

  struct Transfer {
    uint64_t id = 0;  // of its put
    P2pTransfer call;
    uint32_t sequence = 0;  // within its pair and direction
    Stage stage = Stage::kStart;
    uint64_t moved = 0;      // bytes, local chunks
    uint32_t last_slot = 0;  // local: number of the slot that ends it
    std::shared_ptr<const RegisteredBuffer> memory;
  };

  struct Group {
    std::shared_ptr<Operation> operation;
    std::vector<Transfer> transfers;
    size_t left = 0;
    TimeNs began = 0;
  };

  // What a pair of ranks has done so far; lives as long as the communicator.
  struct Pair {
    uint32_t sends = 0;
    uint32_t receives = 0;
    uint32_t slots_filled = 0;  // of ours, for the peer to read
    uint32_t slots_freed = 0;
    uint32_t slots_read = 0;  // of the peer's
  };

  Result<bool> advance(const Group& group, Transfer& transfer, TimeNs now);
  Status match_self(Group& group);
  bool first_of_its_pair(const Transfer& transfer) const;

  Result<bool> send_remote(Transfer& transfer, TimeNs now);
  Result<bool> send_remote_bulk(Transfer& transfer, TimeNs now);
  Result<bool> receive_remote(const Group& group, Transfer& transfer, TimeNs now);
  Result<bool> receive_remote_bulk(Transfer& transfer, TimeNs now);
  Result<bool> ask_sender(const Group& group, Transfer& transfer, TimeNs now);

  Result<bool> send_local(Transfer& transfer);
  Result<bool> receive_local(Transfer& transfer);
  Status take_from_slot(Transfer& transfer, const std::byte* slot);
  void collect_freed(int peer);

  void trace_transfer(TraceKind kind, const Transfer& transfer) const;
  Status mismatch(const Transfer& transfer, const Fingerprint& theirs) const;
  int local_index(int rank) const;
  Inbox& inbox_of(int peer) const { return (*services_.inboxes)[static_cast<size_t>(peer)]; }
  Pair& pair_of(int peer) { return pairs_[static_cast<size_t>(peer)]; }

  ExecutorServices services_;
  std::vector<Pair> pairs_;       // by rank
  std::vector<bool> slot_taken_;  // by rank: emptied, but the sender does not know yet
  std::deque<Group> groups_;      // in the order in which they began
  std::vector<std::shared_ptr<Operation>> finished_;
  uint64_t next_id_ = 0;
};

}  // namespace railccl
