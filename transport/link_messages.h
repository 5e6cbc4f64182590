// The small messages of a link, both directions. Each side registers a ring ("inbox") in which the
// peer puts its messages, and keeps its own ones in a ring of the same layout ("outbox") until the
// peer has consumed them, so that they can be put again at the same place over another rail.
// Messages are delivered once and in order of their sequence, over whichever rails they came.
//
// Internal to the link; same thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "transport/link_pair.h"
#include "transport/link_receipts.h"
#include "transport/sequence_ring.h"
#include "transport/wire.h"

namespace railccl {

class LinkMessages {
 public:
  // Registers both rings on the local rails of the pairs.
  static Result<std::unique_ptr<LinkMessages>> create(const LinkOptions& options,
                                                      std::span<Rail* const> rails,
                                                      LinkPairs& pairs, LinkReceipts& receipts);

  uint32_t ring_bytes() const { return ring_bytes_; }
  uint64_t inbox_key(int local_rail) const;
  // The peer's rings may be smaller: both sides use the smaller size.
  Status connect(const wire::LinkAddress& peer);

  // --- Sending. kBackPressure: the peer has not consumed enough.
  struct Parts {
    std::span<const std::byte> header;
    std::span<const std::byte> body;
    uint8_t flags = 0;
  };
  Status send(const Parts& parts);
  bool pump(TimeNs now);
  void on_put_done(LinkPair& pair, const RailEvent& event, TimeNs now);
  // An error: the peer consumed what was never sent.
  Status on_ack(const wire::AckNote& ack, TimeNs now);
  // The pair's epoch is fenced on both sides: what was put there and has not arrived is put again.
  void on_fenced(const wire::PairEpoch& rail, const wire::MessagesArrived& arrived);
  // The oldest message that is not consumed is completed, and nothing was consumed since `since`.
  bool unacknowledged_since(TimeNs since) const;
  // The pair (bit) that carried it, if that was in its present epoch.
  uint32_t oldest_carrier() const;
  bool unacknowledged() const { return consumed_out_ != out_.end(); }
  // Of some message it is not known that it has arrived.
  bool in_flight() const;
  uint64_t progress_made() const { return consumed_out_; }
  bool blocked() const { return blocked_; }

  // --- Receiving.
  // `event` is that of its put; what it shows and next() does not return during it is kept.
  Status on_arrived(LinkPair& pair, const wire::NoteHeader& header, const wire::MessageNote& note,
                    const RailEvent& event);
  // It is new, and its bytes are not those that were sent.
  bool is_damaged(const wire::NoteHeader& header, const wire::MessageNote& note,
                  const RailEvent& event) const;
  // The next message in order; none: not here yet. Its bytes are there during the rail's event and
  // until the following call of next.
  struct Incoming {
    std::span<const std::byte> bytes;
    uint8_t flags = 0;
  };
  std::optional<Incoming> next();
  uint32_t consumed() const { return static_cast<uint32_t>(consumed_in_); }
  wire::MessagesArrived arrived() const;
  // The peer has to be told what was consumed: half of its room, or less in a small ring.
  bool credit_due() const;
  void credit_sent() {
    credited_in_ = consumed_in_;
    bytes_since_credit_ = 0;
  }

 private:
  struct Outgoing {
    // kLost: it may not have arrived; what the two sides say of its pair (on_fenced) will tell.
    enum class State : uint8_t { kQueued, kInFlight, kCompleted, kLost };
    bool posted() const { return state == State::kCompleted || state == State::kLost; }
    uint64_t begin = 0;  // virtual offset in the ring, which only grows
    uint64_t end = 0;
    uint32_t bytes = 0;
    uint8_t flags = 0;
    uint16_t pair = 0;
    uint16_t epoch = 0;
    State state = State::kQueued;
    TimeNs posted_at = 0;
  };
  struct Arrived {
    bool here = false;
    uint8_t flags = 0;
    std::span<const std::byte> bytes;
  };

  LinkMessages(const LinkOptions& options, LinkPairs& pairs, LinkReceipts& receipts);
  Status register_rings(std::span<Rail* const> rails);
  bool post(uint64_t sequence, TimeNs now);
  void release();
  uint64_t place(uint64_t bytes) const;

  // Where the bytes of a put into the inbox are.
  std::span<const std::byte> shown(const wire::MessageNote& note, const RailEvent& event) const;
  bool in_ring(const wire::MessageNote& note) const {
    return note.bytes <= ring_bytes_ && note.position <= ring_bytes_ - note.bytes;
  }

  int peer_;
  bool check_;
  LinkPairs& pairs_;
  LinkReceipts& receipts_;
  uint32_t ring_bytes_;
  std::vector<std::byte> memory_;  // outbox, then inbox
  std::span<std::byte> outbox_;
  std::span<std::byte> inbox_;
  RegisteredBuffer outbox_registered_;
  RegisteredBuffer inbox_registered_;
  std::vector<uint64_t> peer_keys_;  // by pair

  SequenceRing<Outgoing> out_;
  uint64_t consumed_out_ = 0;  // the peer consumed all before this one
  uint64_t next_out_ = 0;      // the first that may be queued
  uint64_t end_out_ = 0;       // virtual offset behind the last message
  TimeNs moved_at_ = 0;
  bool blocked_ = false;

  std::array<Arrived, wire::kMessageWindow> in_{};
  uint64_t next_in_ = 0;      // to be delivered
  uint64_t consumed_in_ = 0;  // delivered, and done with
  uint64_t credited_in_ = 0;  // of which the peer was told
  uint64_t bytes_since_credit_ = 0;
  uint64_t incoming_bytes_ = 0;  // of the last one
};

}  // namespace railccl
