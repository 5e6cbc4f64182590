#include "transport/link_sender.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "transport/checksum.h"

namespace railccl {
namespace {

// Of these the bytes take little of the time of the way, also on a rail that is slower than others.
constexpr uint64_t kShortBytes = 256;
constexpr uint64_t kMostBefore = 4 * kShortBytes;

}  // namespace

LinkSender::LinkSender(const LinkOptions& options, LinkPairs& pairs, LinkReceipts& receipts)
    : options_(options),
      pairs_(pairs),
      receipts_(receipts),
      max_chunk_bytes_(uint64_t{1} << 30),
      views_(pairs.size()) {
  for (const LinkPair& pair : pairs_) {
    const size_t most = pair.info().max_put_bytes;
    if (most != 0) max_chunk_bytes_ = std::min<uint64_t>(max_chunk_bytes_, most);
  }
}

uint32_t LinkSender::usable_pairs(const LinkPut& put) const {
  uint32_t usable = 0;
  for (const LinkPair& pair : pairs_) {
    const auto local = static_cast<size_t>(pair.local_rail());
    const auto remote = static_cast<size_t>(pair.peer_rail());
    const bool here = put.bytes == 0 ||
                      (local < put.source->on_rail.size() && put.source->on_rail[local] != nullptr);
    const bool there = put.bytes == 0 || (remote < put.target->rail_keys.size() &&
                                          put.target->rail_keys[remote] != 0);
    if (here && there) usable |= uint32_t{1} << pair.index();
  }
  return usable;
}

Status LinkSender::check(const LinkPut& put, uint32_t usable_pairs) const {
  const uint64_t source_bytes = put.bytes == 0 ? 0 : put.source->region.bytes;
  const uint64_t target_bytes = put.bytes == 0 ? 0 : put.target->bytes;
  if (put.bytes != 0 &&
      (put.source_offset > source_bytes || put.bytes > source_bytes - put.source_offset)) {
    return error(Code::kInvalidArgument, "a put of {} bytes from offset {} of a buffer of {} bytes",
                 put.bytes, put.source_offset, source_bytes);
  }
  if (put.bytes != 0 &&
      (put.target_offset > target_bytes || put.bytes > target_bytes - put.target_offset)) {
    return error(Code::kInvalidArgument,
                 "a put of {} bytes to offset {} of rank {}'s buffer of {} bytes", put.bytes,
                 put.target_offset, options_.peer, target_bytes);
  }
  if (put.bytes / 4096 >= kMaxChunksPerPut) {
    return error(Code::kInvalidArgument, "a put of {} bytes is too large: at most 1 TiB",
                 put.bytes);
  }
  if (usable_pairs == 0) {
    return error(Code::kInvalidArgument,
                 "no rail to rank {} has both the source and the target registered", options_.peer);
  }
  return Status::ok();
}

Status LinkSender::put(const LinkPut& put) {
  if (put.bytes != 0 && (put.source == nullptr || put.target == nullptr)) {
    return error(Code::kInvalidArgument, "a put of {} bytes without source or target", put.bytes);
  }
  const uint32_t usable = usable_pairs(put);
  RAILCCL_TRY(check(put, usable));
  const uint64_t sequence = puts_.end();
  OutPut& out = puts_.push_back();
  out.put = put;
  out.put.target = nullptr;
  out.pair_keys.assign(pairs_.size(), 0);
  for (size_t i = 0; i < pairs_.size() && put.bytes != 0; ++i) {
    const auto remote = static_cast<size_t>(pairs_[i].peer_rail());
    if ((usable >> i & 1) != 0) out.pair_keys[i] = put.target->rail_keys[remote];
  }
  out.usable_pairs = usable;
  out.posted = 0;
  out.in_flight = 0;
  out.begun = out.acknowledged = out.finished = false;
  out.chunks.clear();
  if (put.bytes <= kUrgentBytes) {
    urgent_.push_back(sequence);
  } else {
    queued_bytes_ += put.bytes;
  }
  return Status::ok();
}

StripeRequest LinkSender::sizes(uint64_t put_left) const {
  return {.put_left = put_left,
          .queued = queued_bytes_,
          .small_bytes = options_.small_put_bytes,
          .chunk_bytes = options_.chunk_bytes,
          .max_chunk_bytes = max_chunk_bytes_,
          .lone = lone_};
}

void LinkSender::refresh_views(TimeNs now) {
  views_.clear();
  update_slow(pairs_, now);
  const int tier = best_tier(pairs_);
  lone_ = std::ranges::count_if(pairs_, [tier](const LinkPair& pair) {
            return pair.postable() && pair.tier() == tier;
          }) == 1;
  for (const LinkPair& pair : pairs_) views_.push_back(pair.stripe_view(sizes(0), now));
}

bool LinkSender::may_begin(uint64_t sequence) const {
  return sequence < acknowledged_ + wire::kMaxOpenPuts;
}

bool LinkSender::pump(TimeNs now) {
  blocked_ = false;
  while (next_ < puts_.end() && puts_[next_].fully_posted()) ++next_;
  if (replays_.empty() && urgent_.empty() && next_ == puts_.end()) return false;
  bool did = is_quiet() && post_urgent_by_way(now);
  if (urgent_.empty() && replays_.empty() && queued_bytes_ == 0) return did;
  refresh_views(now);
  did |= post_urgent(now);
  did |= post_replays(now);
  did |= post_queue(now);
  return did;
}

bool LinkSender::post_replays(TimeNs now) {
  bool did = false;
  while (!replays_.empty()) {
    const ChunkRef ref = replays_.front();
    if (puts_.contains(ref.put) && !puts_[ref.put].acknowledged) {
      const OutPut& put = puts_[ref.put];
      StripeRequest request = sizes(std::max<uint64_t>(put.chunks[ref.chunk].bytes, 1));
      request.queued += request.put_left;
      request.whole = true;
      const StripeChoice choice = choose(put, request);
      if (choice.rail < 0) return did;
      if (!post_chunk(ref.put, ref.chunk, choice.rail, now)) continue;
      did = true;
    }
    replays_.pop_front();
  }
  return did;
}

// Nothing but urgent puts, and little of them under way.
bool LinkSender::is_quiet() const {
  return queued_bytes_ == 0 && replays_.empty() &&
         (pairs_.size() == 1 || std::ranges::all_of(pairs_, [](const LinkPair& pair) {
            return pair.chunk_bytes_in_flight() <= kMostBefore;
          }));
}

// The quickest rail for what is short is then about the one with the shortest way, which needs no
// views. The rest, and what that one does not take, is left to post_urgent.
bool LinkSender::post_urgent_by_way(TimeNs now) {
  bool did = false;
  while (!urgent_.empty() && may_begin(urgent_.front())) {
    const OutPut& put = puts_[urgent_.front()];
    if (put.put.bytes > kShortBytes && pairs_.size() > 1) break;
    const LinkPair* pair = shortest_way(pairs_, put.usable_pairs);
    if (pair == nullptr || !post_whole(urgent_.front(), pair->index(), now)) break;
    urgent_.pop_front();
    did = true;
  }
  return did;
}

bool LinkSender::post_urgent(TimeNs now) {
  bool did = false;
  while (!urgent_.empty() && may_begin(urgent_.front())) {
    if (!post_whole_on_quickest(urgent_.front(), now)) break;
    urgent_.pop_front();
    did = true;
  }
  return did;
}

bool LinkSender::post_whole(uint64_t sequence, int pair, TimeNs now) {
  OutPut& put = puts_[sequence];
  put.chunks.push_back({.offset = 0, .bytes = put.put.bytes});
  if (post_chunk(sequence, 0, pair, now)) return true;
  put.chunks.clear();
  return false;
}

bool LinkSender::post_whole_on_quickest(uint64_t sequence, TimeNs now) {
  const OutPut& put = puts_[sequence];
  while (true) {
    refresh_usable_views(put);
    const int best = quickest_rail(usable_views_, put.put.bytes);
    if (best < 0) return false;
    if (post_whole(sequence, best, now)) return true;
  }
}

bool LinkSender::post_queue(TimeNs now) {
  bool did = false;
  while (next_ < puts_.end()) {
    const OutPut& put = puts_[next_];
    if (put.fully_posted() || put.put.bytes <= kUrgentBytes) {
      ++next_;
      continue;
    }
    if (!may_begin(next_) || !post_next_chunk(next_, now)) break;
    did = true;
  }
  return did;
}

// The rails for this put: up, its buffers registered there, and of the best tier of those.
void LinkSender::refresh_usable_views(const OutPut& put) {
  usable_views_ = views_;
  bool any = false;
  for (size_t i = 0; i < usable_views_.size(); ++i) {
    usable_views_[i].usable = usable_views_[i].usable && (put.usable_pairs >> i & 1) != 0;
    any = any || usable_views_[i].usable;
  }
  if (!any) blocked_ = true;
  keep_best_tier(usable_views_);
}

StripeChoice LinkSender::choose(const OutPut& put, const StripeRequest& request) {
  refresh_usable_views(put);
  return choose_rail(usable_views_, request, options_.striping);
}

bool LinkSender::post_next_chunk(uint64_t sequence, TimeNs now) {
  while (true) {
    OutPut& put = puts_[sequence];
    const StripeChoice choice = choose(put, sizes(put.put.bytes - put.posted));
    if (choice.rail < 0) return false;
    put.chunks.push_back({.offset = put.posted, .bytes = choice.bytes});
    if (post_chunk(sequence, put.chunks.size() - 1, choice.rail, now)) {
      queued_bytes_ -= choice.bytes;
      return true;
    }
    put.chunks.pop_back();
  }
}

// Of memory of the host.
uint32_t LinkSender::crc_of(const OutPut& out, const Chunk& chunk) const {
  const std::byte* bytes = out.put.source->region.address + out.put.source_offset + chunk.offset;
  return crc32c({bytes, chunk.bytes});
}

Notification LinkSender::note_of(const OutPut& out, Chunk& chunk, wire::NoteHeader header,
                                 const wire::AckNote* ack) const {
  wire::ChunkNote note{.tag = out.put.tag, .offset = chunk.offset, .total = out.put.bytes};
  if (options_.check && chunk.bytes != 0 && out.put.source->region.kind == MemoryKind::kHost) {
    // Once: what is replayed must be what was meant at first (halve() holds it against that, too).
    if (!std::exchange(chunk.checked, true)) chunk.crc = crc_of(out, chunk);
    header.flags |= wire::kCheckedFlag;
    note.crc = chunk.crc;
  }
  if (ack != nullptr) {
    header.flags |= wire::kWholeFlag;
    note.ack = *ack;
  }
  return encode(header, note);
}

// False: the rail did not take it; its view says so from now on.
bool LinkSender::post_chunk(uint64_t sequence, uint64_t chunk_index, int pair_index, TimeNs now) {
  OutPut& out = puts_[sequence];
  Chunk& chunk = out.chunks[chunk_index];
  const auto index = static_cast<size_t>(pair_index);
  LinkPair& pair = pairs_[index];
  const auto rail = static_cast<size_t>(pair.local_rail());
  const bool whole = chunk.bytes == out.put.bytes;
  const wire::AckNote ack = whole ? receipts_.acknowledgement() : wire::AckNote{};
  Put put{.token = chunk_token(sequence, chunk_index),
          .bytes = chunk.bytes,
          .notification = note_of(out, chunk, pair.header(wire::NoteKind::kChunk, sequence),
                                  whole ? &ack : nullptr)};
  if (chunk.bytes != 0) {
    put.source = out.put.source->on_rail[rail].get();
    put.source_offset = out.put.source_offset + chunk.offset;
    put.remote_key = out.pair_keys[index];
    put.remote_offset = out.put.target_offset + chunk.offset;
  }
  const Status status = pair.post_chunk(put, now);
  if (!status.is_ok()) {
    // Until the next refresh.
    if (status.code() == Code::kBackPressure) views_[index].full = true;
    if (status.code() != Code::kBackPressure) views_[index].usable = false;
    return false;
  }
  if (whole) receipts_.on_carried(ack);
  const bool first_time = !chunk.replay;
  chunk.posted_at = now;
  chunk.pair = static_cast<uint16_t>(index);
  chunk.epoch = pair.epoch();
  chunk.state = Chunk::State::kInFlight;
  out.begun = true;
  ++out.in_flight;
  const uint64_t id = pair.chunk_id(sequence, chunk_index);
  if (first_time) {
    out.posted += chunk.bytes;
  } else {
    pair.count_replayed(chunk.bytes);
    pair.trace(TraceKind::kChunkReplayed, id, chunk.bytes, now);
  }
  pair.trace(TraceKind::kChunkPosted, id, chunk.bytes, now);
  note_posted(index, chunk.bytes);
  return true;
}

void LinkSender::note_posted(size_t pair, uint64_t bytes) {
  for (size_t i = 0; i < views_.size(); ++i) {
    if (i == pair) {
      views_[i].in_flight += bytes;
      views_[i].bytes_posted += bytes;
      views_[i].sample_due = false;
    } else {
      pairs_[i].count_elsewhere(bytes);
    }
  }
}

void LinkSender::on_chunk_done(LinkPair& pair, const RailEvent& event, TimeNs now) {
  const bool ok = event.status.is_ok();
  const uint64_t sequence = widen(token_sequence(event.token), puts_.first());
  if (!puts_.contains(sequence)) return;
  OutPut& out = puts_[sequence];
  const uint64_t index = token_chunk(event.token);
  if (index >= out.chunks.size() || out.chunks[index].state != Chunk::State::kInFlight) return;
  Chunk& chunk = out.chunks[index];
  chunk.state = ok ? Chunk::State::kCompleted : Chunk::State::kLost;
  --out.in_flight;
  moved_at_ = now;
  pair.trace(TraceKind::kChunkDelivered, pair.chunk_id(sequence, index), ok ? chunk.bytes : 0, now);
  const LinkPair::Completion done{
      .bytes = chunk.bytes, .posted_at = chunk.posted_at, .held_back = event.held_back, .ok = ok};
  if (ok && chunk.bytes <= kUrgentBytes) pair.learn_base(done, now);
  pair.on_chunk_done(done, now);
  maybe_finish(sequence);
}

void LinkSender::maybe_finish(uint64_t sequence) {
  OutPut& out = puts_[sequence];
  if (!out.acknowledged || out.in_flight != 0 || out.finished) return;
  out.finished = true;
  finished_.push_back(out.put.token);
  while (!puts_.empty() && puts_.front().finished) puts_.pop_front();
  next_ = std::max(next_, puts_.first());
}

Status LinkSender::acknowledge(uint64_t sequence, TimeNs now) {
  OutPut& out = puts_[sequence];
  if (out.acknowledged) return Status::ok();
  if (!out.fully_posted()) {
    return error(Code::kPeerFailed,
                 "rank {} acknowledged put {} of which {} of {} bytes were sent: it is broken or "
                 "runs another version",
                 options_.peer, sequence, out.posted, out.put.bytes);
  }
  out.acknowledged = true;
  ++progress_made_;
  moved_at_ = now;
  maybe_finish(sequence);
  return Status::ok();
}

Status LinkSender::on_ack(const wire::AckNote& ack, TimeNs now) {
  const uint64_t before = widen(ack.puts, acknowledged_);
  if (before > puts_.end() && before > acknowledged_) {
    return error(Code::kPeerFailed,
                 "rank {} acknowledged {} puts, {} were sent: it is broken or runs another version",
                 options_.peer, before, puts_.end());
  }
  while (acknowledged_ < before) {
    if (puts_.contains(acknowledged_)) RAILCCL_TRY(acknowledge(acknowledged_, now));
    ++acknowledged_;
  }
  for (uint64_t word = 0; word < ack.puts_above.size(); ++word) {
    for (uint64_t above = ack.puts_above[word]; above != 0; above &= above - 1) {
      const auto bit = static_cast<uint64_t>(std::countr_zero(above));
      const uint64_t sequence = before + 1 + 64 * word + bit;
      if (puts_.contains(sequence)) RAILCCL_TRY(acknowledge(sequence, now));
    }
  }
  return Status::ok();
}

bool LinkSender::unacknowledged_since(TimeNs since) const {
  if (puts_.empty() || moved_at_ >= since) return false;
  const OutPut& out = puts_[puts_.first()];
  return !out.acknowledged && out.fully_posted() && out.in_flight == 0;
}

uint32_t LinkSender::oldest_carriers() const {
  uint32_t carriers = 0;
  if (puts_.empty()) return carriers;
  for (const Chunk& chunk : puts_[puts_.first()].chunks) {
    if (pairs_[chunk.pair].epoch() == chunk.epoch) carriers |= uint32_t{1} << chunk.pair;
  }
  return carriers;
}

std::vector<uint64_t> LinkSender::abandon() {
  std::vector<uint64_t> tokens;
  for (uint64_t sequence = puts_.first(); sequence != puts_.end(); ++sequence) {
    if (!puts_[sequence].finished) tokens.push_back(puts_[sequence].put.token);
  }
  while (!puts_.empty()) puts_.pop_front();
  next_ = puts_.end();
  queued_bytes_ = 0;
  urgent_.clear();
  replays_.clear();
  return tokens;
}

}  // namespace railccl
