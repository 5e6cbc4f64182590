// The sending half of one socket of an endpoint: accepted puts from queueing to acknowledgement,
// and the acknowledgements owed to the peer. Several frames go in one system call, payloads
// straight from the registered memory. Owned by the endpoint; the rail's thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>

#include "src/base/status.h"
#include "transport/tcp/ring_queue.h"
#include "transport/tcp/wire.h"

namespace railccl::tcp {

struct OutgoingPut {
  PutHeader header;
  const std::byte* payload = nullptr;
  uint64_t token = 0;
};

class SendLane {
 public:
  struct Limits {
    size_t max_queued_bytes = 0;
    size_t max_outstanding_puts = 0;
  };
  enum class Outcome : uint8_t {
    kDone,     // nothing is left to send
    kBlocked,  // the socket is full: again when it is writable
    kBudget,   // more could be sent; others first
  };

  explicit SendLane(const Limits& limits) : limits_(limits) {}

  // A put is refused when too many are outstanding or too many bytes wait, but a lone one is always
  // accepted.
  bool accepts(uint64_t bytes) const;
  void push(const OutgoingPut& put);
  // The newest totals go out with the next flush, in one frame however often this was called.
  void owe_acknowledgement(const AckFrame& ack);

  Result<Outcome> flush(int fd, size_t budget_bytes);

  // The peer placed all puts up to the `placed`-th since the start; false: it cannot have. Then
  // take_acknowledged() gives them, oldest first.
  bool acknowledge(uint64_t placed);
  bool has_acknowledged() const { return completed_ < acknowledged_; }
  OutgoingPut take_acknowledged();
  // For a lane that has ended: every outstanding put, oldest first.
  bool has_outstanding() const { return !puts_.empty(); }
  OutgoingPut take_outstanding();

  // Whether what was sent so far ends with a whole frame.
  bool at_frame_end() const { return ack_offset_ == 0 && put_offset_ == 0; }
  bool has_work() const { return ack_due_ || ack_offset_ > 0 || sent_ < puts_.size(); }

 private:
  struct Batch;
  void gather(Batch& batch, size_t budget_bytes) const;
  void consume(const Batch& batch, size_t bytes);
  size_t consume_ack(size_t bytes);
  size_t consume_put(size_t bytes);

  Limits limits_;
  RingQueue<OutgoingPut> puts_;  // outstanding: first `sent_` of them are wholly sent
  size_t sent_ = 0;
  size_t put_offset_ = 0;      // bytes of puts_[sent_] (header and payload) already sent
  uint64_t queued_bytes_ = 0;  // payload of the puts not wholly sent
  uint64_t completed_ = 0;     // taken by take_acknowledged, since the start
  uint64_t acknowledged_ = 0;  // by the peer, since the start

  bool ack_due_ = false;
  AckFrame next_ack_;
  AckFrame ack_in_flight_;  // while 0 < ack_offset_
  size_t ack_offset_ = 0;
};

}  // namespace railccl::tcp
