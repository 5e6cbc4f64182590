// The ranks of one node that can load and store each other's memory: a shared memory segment with
// notification rings, a board on which each rank publishes its buffers for each operation, shared
// scratch, small collectives in cache lines, doorbells to wake a sleeper. One object per rank and
// communicator. Works the same for ranks in one process (threads) and in several.
//
// Threading: one thread at a time (the driver of the communicator); ring_all(), raise_abort(),
// aborted(), others_inside() and forget() any thread, at any time. Nothing here blocks except
// sleep().
//
// Every shared word has a single writer, but for the doorbells and the abort flag. Data is
// published by release stores and read after acquire loads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/types.h"
#include "src/compute/compute.h"

namespace railccl {

// How others reach a buffer of this rank.
struct BufferHandle {
  enum class Kind : uint32_t {
    kNone,     // zero bytes
    kShared,   // segment of the shared heap (ncclMemAlloc): `segment` names it, `offset` within
    kProcess,  // address in the owner's process: direct for threads of it, else cross-memory attach
    kDevice,   // the owner's piece of the device domain: `offset` within; not for map()
  };
  Kind kind = Kind::kNone;
  uint32_t pid = 0;
  uint64_t segment = 0;
  uint64_t offset = 0;  // or the address
  uint64_t bytes = 0;
};

// What a rank publishes at the beginning of operation `sequence`.
struct ReadyRecord {
  uint64_t sequence = 0;
  uint64_t fingerprint[4] = {};  // packed call; compared by the caller
  BufferHandle input;
  BufferHandle output;
};

struct LocalDomainOptions {
  int index = 0;               // of this rank in the node
  std::vector<int> ranks;      // the node's ranks, ascending; ranks[index] is this one
  uint64_t scratch_bytes = 0;  // per rank, in the segment, page aligned; grows lazily with use
                               // (untouched pages cost nothing)
};

// The creator's (index 0) half of the start: bytes for the other ranks, sent over the control path.
struct LocalSegmentName {
  uint32_t pid = 0;
  int fd = -1;
  uint64_t token[2] = {};
};

class LocalNotificationSink {
 public:
  virtual ~LocalNotificationSink() = default;
  virtual void on_local_notification(int index, uint64_t tag) = 0;
};

class LocalDomain {
 public:
  // Index 0 makes the segment; the others attach to it by name. Fails with the cause (no /proc
  // access, /dev/shm or memory limits) and the way out.
  static Result<std::unique_ptr<LocalDomain>> create(const LocalDomainOptions& options);
  static Result<std::unique_ptr<LocalDomain>> attach(const LocalDomainOptions& options,
                                                     const LocalSegmentName& name);
  virtual ~LocalDomain() = default;
  virtual LocalSegmentName name() const = 0;
  // The rest of the start, after create or attach: call again until true, before anything else.
  // True when every rank of the domain has attached and has tried what it can do with each other
  // (all agree on the result). An error names the rank, the cause and the way out. A rank that
  // never comes keeps it false: the deadline is the caller's.
  virtual Result<bool> settle() = 0;
  // After settle(): on how many cores the ranks of the domain may run, all together; with more
  // ranks than that, waiting must not spin (see waiting_policy.h).
  virtual int cores() const = 0;

  // --- operations in order: sequence 1, 2, ... the same on all ranks of the domain ---
  // False: the board slot is still being read by a rank that is several operations behind; try
  // again.
  virtual bool publish(const ReadyRecord& ready) = 0;
  // Null until `index` has published `sequence`.
  virtual const ReadyRecord* ready(int index, uint64_t sequence) = 0;
  // This rank is through with `sequence` (it reads nobody's memory of it any more).
  virtual void finish(uint64_t sequence) = 0;

  // --- memory ---
  static BufferHandle handle_of(const void* address, size_t bytes);
  // A pointer through which this process reaches the buffer; null if only copy_from / copy_to
  // (cross-memory attach) do. Not null, and not to be dereferenced, for kNone. Valid until the
  // owner frees the memory.
  virtual std::byte* map(int index, const BufferHandle& handle) = 0;
  // After settle(): whether every rank of the domain can cross-memory attach to every other (tried
  // once, the same answer on all).
  virtual bool can_attach() const = 0;
  virtual Status copy_from(int index, const BufferHandle& handle, uint64_t offset, std::byte* dst,
                           size_t bytes) = 0;
  virtual Status copy_to(int index, const BufferHandle& handle, uint64_t offset,
                         const std::byte* src, size_t bytes) = 0;
  virtual std::byte* scratch(int index) = 0;  // of any rank of the node
  // Between these two, which nest, this rank may reach into buffers of others, but only while
  // aborted() is 0, which it looks at before each step.
  virtual void enter() = 0;
  virtual void leave() = 0;
  // Out for good: the communicator has ended, or is seen to have.
  virtual void withdraw() = 0;
  // After raise_abort(), or where aborted() was not 0: whoever is in this list may still read or
  // write this rank's buffers. Whoever is not will not any more.
  virtual std::vector<int> others_inside() const = 0;
  // Its process has ended.
  virtual void forget(int index) = 0;

  // --- notifications, in order per pair ---
  virtual bool notify(int index, uint64_t tag) = 0;  // false: that ring is full, try again
  virtual bool poll(LocalNotificationSink& sink) = 0;

  // --- small collectives: data and flags in shared cache lines, one step, no board and no
  // notifications ---
  static constexpr size_t kMaxSmallBytes = 8192;
  struct Small {
    Collective collective = Collective::kAllReduce;
    DataType type = DataType::kFloat32;
    ReduceOp op = ReduceOp::kSum;
    uint32_t divide_by = 1;
    int root_index = 0;
    uint64_t count = 0;  // as in Shape::block
    const std::byte* input = nullptr;
    std::byte* output = nullptr;
    uint64_t sequence = 0;
    uint64_t fingerprint = 0;  // of the call; differing ranks are found before data is used
  };
  // The call's payload fits. Every rank calls small_begin for the same operations in the same
  // order, and small_step until it is not kWaiting, before the next. Input and output must stay
  // valid until then. An operation is either small or has a ready record, never both.
  static bool small_suits(Collective collective, uint64_t count, DataType type, int ranks);
  enum class Progress : uint8_t { kWaiting, kDone, kMismatch };
  virtual void small_begin(const Small& call) = 0;
  virtual Progress small_step() = 0;
  // The first call in which this rank and another differ. Where a call needs no data of a rank (a
  // broadcast, of another rank than the root), that it differed is found at a later call.
  struct SmallMismatch {
    int index = -1;         // of the other rank
    uint64_t sequence = 0;  // of this rank's call
    uint64_t mine = 0;      // fingerprints
    uint64_t theirs = 0;  // 0: it published a ready record for `sequence` instead (ready() has it)
  };
  virtual SmallMismatch small_mismatch() const = 0;  // after kMismatch
  // For a rank that waits for the ready record of `sequence`: the fingerprint, if `index` called a
  // small collective instead. Not for the hot path.
  virtual std::optional<uint64_t> small_called(int index, uint64_t sequence) const = 0;

  // --- sleeping ---
  // Someone may have something for this rank since the last poll: cheap test before sleeping.
  // Pattern: prepare_sleep(); if (nothing to do on a last look) sleep(...) or poll() on wake_fd();
  // finish_sleep().
  enum class SleepOn : uint8_t { kFutex, kDescriptor };
  // kDescriptor only after wake_fd() has succeeded.
  virtual void prepare_sleep(SleepOn how) = 0;
  // kFutex only; returns on a doorbell or after the timeout, or early.
  virtual void sleep(TimeNs timeout_ns) = 0;
  virtual void finish_sleep() = 0;
  // A socket that becomes readable on a doorbell (opened on first use); finish_sleep() empties it.
  virtual Result<int> wake_fd() = 0;
  // Wakes all ranks of the domain, e.g. after the abort flag was set.
  virtual void ring_all() = 0;
  // A flag that every rank of the node sees at once; first writer wins, value != 0.
  virtual void raise_abort(uint32_t value) = 0;
  virtual uint32_t aborted() const = 0;
};

// --- shared heap: memory that the ranks of this node can map (ncclMemAlloc) ---
// Any thread. Zeroed, aligned to 4096 bytes (2 MiB for 2 MiB or more); backed by memory on first
// touch.
Result<void*> shared_heap_allocate(size_t bytes);
// The start of an allocation that is not freed yet, null (nothing happens), else an error. No rank
// may use the memory any more, in a running operation either.
Status shared_heap_free(void* address);

}  // namespace railccl
