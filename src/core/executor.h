// Runs one collective operation of a communicator: the schedules of its plan, several pieces at a
// time, over links, shared memory and the compute back end. One object per communicator, used again
// for each operation.
//
// Threading: the driver of the communicator. step() never blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/trace.h"
#include "src/compute/compute.h"
#include "src/core/call.h"
#include "src/core/local_domain.h"
#include "src/core/operands.h"
#include "src/core/peers.h"
#include "src/core/plan.h"
#include "src/core/rail_memory.h"

namespace railccl {

// A notification's 64 bits: which operation, which piece of it, which tag of the schedule.
// | 63 point-to-point | 62..42 operation | 41..20 piece | 19..0 tag |
constexpr int kTagBits = 20;
constexpr int kPieceBits = 22;
constexpr uint64_t kOperationMask = (uint64_t{1} << 21) - 1;
constexpr uint64_t operation_tag(uint64_t sequence, uint64_t piece, uint32_t tag) {
  return (sequence & kOperationMask) << (kTagBits + kPieceBits) | piece << kTagBits | tag;
}

// A put's token: its number, so that the trace can tell puts apart, and the slot of its piece.
constexpr int kSlotBits = 12;
constexpr uint64_t put_token(uint64_t number, uint64_t slot) {
  return (number << kSlotBits | slot) & ~(uint64_t{1} << 63);
}
constexpr uint64_t put_slot(uint64_t token) { return token & ((uint64_t{1} << kSlotBits) - 1); }

// What the executor works with; everything outlives it. `local` is null when the rank is alone on
// its node, `peers` when there is one node only. `inboxes` by rank.
struct ExecutorServices {
  int rank = 0;
  std::shared_ptr<const Layout> layout;
  LocalDomain* local = nullptr;
  const DeviceDomain* device = nullptr;  // null: no call is on a device
  Peers* peers = nullptr;
  std::vector<Inbox>* inboxes = nullptr;
  Compute* compute = nullptr;
  RailMemory* rail_memory = nullptr;
  ScratchView scratch;
  const RegisteredBuffer* scratch_memory = nullptr;
  bool direct = false;  // ranks of a node reach each other's buffers
  uint64_t eager_bytes = 0;
  uint64_t streaming_bytes = 0;  // results of operations larger than this bypass the cache
  TraceSource trace_source = 0;

  // Whether `peer` is a rank of this node.
  bool is_local(int peer) const { return layout->same_node(peer, rank); }
};

// How the elements are combined, after averages and scalars were taken care of.
struct Arithmetic {
  const std::byte* input = nullptr;  // the caller's, or a scaled copy
  ReduceOp op = ReduceOp::kSum;
  uint32_t divide_by = 1;  // applied where a reduction is complete
};

class Executor {
 public:
  explicit Executor(const ExecutorServices& services);

  // `sequence` counts the communicator's collectives, from 1.
  Status begin(const Call& call, const Arithmetic& arithmetic, uint64_t sequence,
               std::shared_ptr<const OperationPlan> plan, TimeNs now);
  // True when anything moved. An error ends the communicator.
  Result<bool> step(TimeNs now);
  bool finished() const { return stage_ == Stage::kIdle; }
  // The compute back end of the operation has not answered yet.
  bool computing() const {
    return std::ranges::any_of(slots_, [](const Piece& piece) { return piece.computing; });
  }
  uint64_t sequence() const { return sequence_; }
  // What the cost model expects of the operation that was begun last.
  TimeNs predicted_ns() const {
    return static_cast<TimeNs>(plan_->decision.chosen.seconds * static_cast<double>(kSecond));
  }
  // For messages: "piece 3 of 8, step 5: waits for rank 2".
  std::string describe() const;

  // Whether an operation is long enough for its steps and waits to be in the trace: a record of
  // each would be a noticeable part of a short one.
  bool traced_in_detail(const Call& call) const;
  // It takes long, or the driver goes to sleep: what the pieces wait for, and what follows, is put
  // into the trace whatever the size.
  void trace_from_here();

  void on_put_done(uint64_t token);
  // Small data that has arrived; false: not for what is running now.
  bool on_small_data(int peer, const MessageHeader& header, std::span<const std::byte> body);
  // Whether the peer's call is ours; kMismatch names both.
  Status check(int peer, uint64_t sequence, const Fingerprint& fingerprint) const;
  // Ranks of other nodes that what is running needs.
  const std::vector<int>& remote_peers() const { return plan_->remote_peers; }
  void abandon();

 private:
  enum class Stage : uint8_t { kIdle, kAnnounce, kRun, kCollectCredits };
  enum class Outcome : uint8_t { kBlocked, kAdvanced, kMoved };  // moved: part of a step was done

  struct Piece {
    bool active = false;
    uint64_t index = 0;
    const Schedule* schedule = nullptr;
    uint32_t pc = 0;
    uint64_t done_elements = 0;  // of the step at pc
    uint32_t unacknowledged = 0;
    Compute::Ticket ticket = 0;
    bool computing = false;
    bool in_step = false;  // as the trace knows it: a begin without its end
    bool in_wait = false;
    int waits_for = kSelf;
  };

  Status acquire_rail_memory();
  Status check_arrived(int peer) const;
  Result<bool> announce(TimeNs now);
  Result<bool> send_ready(int peer, TimeNs now);
  Result<bool> run_pieces(TimeNs now);
  bool start_pieces();
  Result<bool> run_piece(Piece& piece, TimeNs now);
  Result<Outcome> run_step(Piece& piece, const Step& step, TimeNs now);
  Result<Outcome> wait(const Piece& piece, const Step& step);
  Result<Outcome> signal(const Piece& piece, const Step& step, TimeNs now);
  Result<Outcome> put_local(Piece& piece, const Step& step);
  Result<Outcome> put_remote(Piece& piece, const Step& step, TimeNs now);
  Result<Outcome> put_bulk(Piece& piece, const Step& step, TimeNs now);
  Result<Outcome> combine(Piece& piece, const Step& step, std::span<const Slice> dsts,
                          std::span<const Slice> srcs);
  Result<bool> owners_ready(std::span<const Slice> dsts, std::span<const Slice> srcs);
  Result<bool> local_peer_ready(int peer);
  Status local_peer_status(int peer);
  bool in_last_lap(const Piece& piece) const;
  bool needs_no_credit(const Piece& piece, const Step& step) const;
  void owe_credits(const Piece& piece);
  bool collect_credits();
  bool place_small_data(const MessageHeader& header, std::span<const std::byte> body);
  void drain_kept_data();
  const Inbox::Ready* find_ready(int peer);
  void forget_old_ready(int peer);
  // How many operations after this one; negative: before. What a peer says comes in their order.
  int32_t ahead(uint32_t sequence) const {
    return static_cast<int32_t>(sequence - static_cast<uint32_t>(sequence_));
  }
  Inbox& inbox_of(int peer) const { return (*services_.inboxes)[static_cast<size_t>(peer)]; }
  uint64_t output_offset() const;
  const RegisteredBuffer* memory_of(BufferId buffer) const;  // of this rank; null: it has none
  uint64_t remote_offset(const Slice& dst, const OperandPlace& place) const;
  uint64_t tag_of(const Piece& piece, uint32_t tag) const {
    return operation_tag(sequence_, piece.index, tag);
  }
  OperandPlace place_of(const Piece& piece) const;
  uint64_t slot_of(const Piece& piece) const {
    return static_cast<uint64_t>(&piece - slots_.data());
  }
  void trace_step_begin(Piece& piece, const Step& step);
  void trace_wait_begin(Piece& piece, const Step& step);
  void trace_wait_end(Piece& piece);
  void trace_outcome(Piece& piece, const Step& step, Outcome outcome);
  void record(TraceKind kind, const Piece& piece, int peer, uint64_t bytes) const;

  // Of the operation.
  Compute& compute() const {
    return call_.on_device != nullptr ? *call_.on_device : *services_.compute;
  }

  ExecutorServices services_;
  Operands operands_;
  Stage stage_ = Stage::kIdle;
  Call call_;
  uint64_t sequence_ = 0;
  std::shared_ptr<const OperationPlan> plan_;
  std::vector<Piece> slots_;        // channel * depth + lap % depth
  std::vector<uint64_t> next_lap_;  // by channel
  uint64_t pieces_done_ = 0;
  size_t announced_ = 0;   // senders of large puts that were told
  uint64_t puts_ = 0;      // given to links, ever
  int not_ready_ = kSelf;  // the local peer that the last blocked step waits for
  bool published_ = false;
  Arithmetic arithmetic_;
  bool streaming_ = false;
  bool put_now_ = false;   // by the current call of step(): the rails may not have it yet
  bool detailed_ = false;  // traced in detail
  bool bad_data_ = false;  // a peer addressed memory outside the operation
  std::shared_ptr<const RegisteredBuffer> input_memory_;
  std::shared_ptr<const RegisteredBuffer> output_memory_;
  std::vector<std::pair<int, uint64_t>> owed_credits_;  // peer, tag
};

}  // namespace railccl
