// The control path: authenticated TCP connections between the ranks of one communicator, made by
// the bootstrap and kept until the communicator ends. It carries small reliable messages between
// any two ranks, and it is how the death of a process is known. Slow path only.
//
// Threading: owned by the progress engine's driver; never blocks after it was made. The driver
// calls progress() when wake_fd() is readable or next_deadline() has passed; a rank that is not
// driven for the silence timeout is taken for lost by the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"

namespace railccl {

// How a rank has left, for those who still need it.
struct Departure {
  uint64_t operations = 0;  // of all ranks, that it had begun
  bool at_exit = false;     // its process has come to its end, and nobody had closed
  bool operator==(const Departure&) const = default;
  // "rank 3 has ..."
  std::string_view verb() const { return at_exit ? "ended" : "closed its communicator"; }
};

class ControlSink {
 public:
  virtual ~ControlSink() = default;
  // From `peer`, authenticated; valid during the call.
  virtual void on_control_message(int peer, std::span<const std::byte> message) = 0;
  // The process or host of `peer` is gone (status names rank, host, last sign of life), reported
  // once per peer, also when it was another rank that noticed.
  virtual void on_peer_lost(int peer, const Status& status) = 0;
  // `origin` called announce_failure, or found that the others had declared this rank lost: the
  // communicator must end with this error on every rank. At most once; not on `origin` itself.
  virtual void on_failure_announced(int origin, const Status& status) = 0;
  // `peer` has called close(departure), in order. Once per peer, while this rank has not closed.
  virtual void on_peer_left(int peer, const Departure& departure) = 0;
};

class ControlPath {
 public:
  virtual ~ControlPath() = default;
  virtual int rank() const = 0;
  virtual int ranks() const = 0;
  // What each rank gave to the bootstrap, by rank.
  virtual std::span<const std::byte> info(int rank) const = 0;
  // Reliable and in order per pair; a connection is opened on first use. At most kMaxControlBytes.
  // Queues without bound on a stalled peer never: above a limit the peer counts as lost.
  // kPeerFailed: the peer is gone (the text says how); kInvalidUsage: after close().
  virtual Status send(int peer, std::span<const std::byte> message) = 0;
  // Floods an error to all ranks that can still be reached; the first one sticks.
  virtual void announce_failure(const Status& status) = 0;
  // An all-gather of one blob per rank (at most kMaxGatherBytes) over the control path, for split
  // and shrink: begin once per `sequence` (>= 1, equal on all ranks, growing; a few may be open at
  // once). poll gives null until every rank's blob is here; a rank that is lost counts with its
  // blob or with an empty one, the same on all ranks. The result stays until the next begin_gather.
  virtual Status begin_gather(uint64_t sequence, std::span<const std::byte> mine) = 0;
  virtual const std::vector<std::vector<std::byte>>* poll_gather(uint64_t sequence) = 0;
  // True when it did anything.
  virtual bool progress(TimeNs now, ControlSink& sink) = 0;
  virtual int wake_fd() const = 0;
  virtual TimeNs next_deadline() const = 0;
  // Says goodbye to all, so that the end of this process is not taken for a death, and after how
  // many operations, so that nobody waits for it in more. Progress must go on until closed(), which
  // is when every rank has said goodbye or is lost, or until a deadline of the caller's; then the
  // object may be destroyed.
  virtual void close(const Departure& departure) = 0;
  virtual bool closed() const = 0;
  // All that was said to anybody so far has reached his host, or he is gone.
  virtual bool delivered() const = 0;
};
constexpr size_t kMaxControlBytes = 65536;
constexpr size_t kMaxGatherBytes = 4096;

}  // namespace railccl
