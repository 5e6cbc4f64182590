// The sending half of a link's puts: cuts them into chunks, posts each on the rail that striping
// chooses, remembers every chunk until the peer has acknowledged the whole put, and posts again
// what a verdict says did not land. Internal to the link; same thread.
//
// A put is finished when the peer has acknowledged it and no chunk of it is in flight here any
// more: then its source may be overwritten and its registration may go.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "transport/link_pair.h"
#include "transport/link_receipts.h"
#include "transport/sequence_ring.h"
#include "transport/wire.h"

namespace railccl {

// Puts up to this are urgent: they leave whole, before larger ones, on the rail that ends first.
constexpr uint64_t kUrgentBytes = 4096;

class LinkSender {
 public:
  LinkSender(const LinkOptions& options, LinkPairs& pairs, LinkReceipts& receipts);

  // Checks and queues; pump() posts.
  Status put(const LinkPut& put);
  // Posts what the rails take now; true when anything was posted.
  bool pump(TimeNs now);
  // The completion of a chunk. Success is a hint for delivery and a measure for the rail.
  void on_chunk_done(LinkPair& pair, const RailEvent& event, TimeNs now);
  // An error: acknowledged what was never sent.
  Status on_ack(const wire::AckNote& ack, TimeNs now);
  // A pair's epoch is fenced on both sides: what was posted there and is not in the verdict is
  // posted again. `frames`: all parts of one verdict. Answers how many of its bytes had landed.
  uint64_t on_verdict(const wire::PairEpoch& rail, const std::vector<wire::VerdictFrame>& frames);

  // Tokens of finished puts in the order in which they finished; the caller empties it.
  std::vector<uint64_t>& finished() { return finished_; }
  // All that are not finished, for the error that ends the link; nothing is remembered of them.
  std::vector<uint64_t> abandon();

  bool idle() const { return puts_.empty(); }
  // Changes whenever the peer says that it has got something it had not.
  uint64_t progress_made() const { return progress_made_; }
  uint64_t queued_bytes() const { return queued_bytes_; }
  // The oldest put is posted and completed, and nothing was acknowledged since `since`.
  bool unacknowledged_since(TimeNs since) const;
  // Pairs (bits) whose present epoch carried a part of the oldest put.
  uint32_t oldest_carriers() const;
  // Something waits that none of the usable rails can carry, or there is none.
  bool blocked() const { return blocked_; }

 private:
  struct Chunk {
    enum class State : uint8_t { kInFlight, kCompleted, kLost };
    uint64_t offset = 0;
    uint64_t bytes = 0;
    TimeNs posted_at = 0;
    uint16_t pair = 0;
    uint16_t epoch = 0;
    State state = State::kInFlight;
    bool replay = false;
    bool checked = false;  // crc is set
    uint32_t crc = 0;
  };
  struct OutPut {
    LinkPut put;  // without target
    std::vector<uint64_t> pair_keys;
    uint32_t usable_pairs = 0;  // bits: registered on both sides
    uint64_t posted = 0;        // bytes cut into chunks so far
    uint32_t in_flight = 0;
    bool begun = false;  // at least one chunk was posted: decides for zero bytes
    bool acknowledged = false;
    bool finished = false;
    std::vector<Chunk> chunks;

    bool fully_posted() const { return begun && posted == put.bytes; }
  };
  struct ChunkRef {
    uint64_t put = 0;
    uint32_t chunk = 0;
  };
  class Landed;

  Status check(const LinkPut& put, uint32_t usable_pairs) const;
  uint32_t usable_pairs(const LinkPut& put) const;
  bool post_replays(TimeNs now);
  bool is_quiet() const;
  bool post_urgent_by_way(TimeNs now);
  bool post_urgent(TimeNs now);
  bool post_queue(TimeNs now);
  bool may_begin(uint64_t sequence) const;
  bool post_next_chunk(uint64_t sequence, TimeNs now);
  bool post_whole(uint64_t sequence, int pair, TimeNs now);
  bool post_whole_on_quickest(uint64_t sequence, TimeNs now);
  void halve(OutPut& out, size_t index, uint64_t sequence);
  uint32_t crc_of(const OutPut& out, const Chunk& chunk) const;
  void refresh_usable_views(const OutPut& put);
  StripeChoice choose(const OutPut& put, const StripeRequest& request);
  bool post_chunk(uint64_t sequence, uint64_t chunk_index, int pair, TimeNs now);
  Notification note_of(const OutPut& out, Chunk& chunk, wire::NoteHeader header,
                       const wire::AckNote* ack) const;
  void refresh_views(TimeNs now);
  void note_posted(size_t pair, uint64_t bytes);
  Status acknowledge(uint64_t sequence, TimeNs now);
  void maybe_finish(uint64_t sequence);
  StripeRequest sizes(uint64_t put_left) const;

  const LinkOptions& options_;
  LinkPairs& pairs_;
  LinkReceipts& receipts_;
  uint64_t max_chunk_bytes_;  // that every rail can carry
  SequenceRing<OutPut> puts_;
  uint64_t acknowledged_ = 0;  // all puts before this one
  uint64_t next_ = 0;          // the first that is not fully posted, but for urgent ones
  uint64_t queued_bytes_ = 0;
  std::deque<uint64_t> urgent_;
  std::deque<ChunkRef> replays_;
  std::vector<uint64_t> finished_;
  std::vector<StripeRail> views_;
  std::vector<StripeRail> usable_views_;
  TimeNs moved_at_ = 0;  // last completion or acknowledgement
  uint64_t progress_made_ = 0;
  bool lone_ = false;  // one rail to choose from, at the last refresh
  bool blocked_ = false;
};

}  // namespace railccl
