// One rail of a link: the endpoint of one epoch, where the rail stands, and what is measured of it.
// Internal to the link; same thread. It posts and counts; what to post is decided elsewhere.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/base/stats.h"
#include "src/base/trace.h"
#include "transport/link.h"
#include "transport/slow_samples.h"
#include "transport/wire.h"

namespace railccl {

// What a put's token says, so that its completion finds its owner.
//   63  60 59          32 31         0
//  | kind |   detail     | sequence  |   detail: chunk index
//  | kind |          time            |   kNote: when it was posted
enum class TokenKind : uint8_t { kChunk = 1, kMessage = 2, kNote = 3 };
constexpr uint64_t kMaxChunksPerPut = uint64_t{1} << 28;
constexpr uint64_t chunk_token(uint64_t put, uint64_t chunk) {
  return uint64_t{1} << 60 | chunk << 32 | (put & 0xffffffff);
}
constexpr uint64_t message_token(uint64_t message) {
  return uint64_t{2} << 60 | (message & 0xffffffff);
}
constexpr uint64_t note_token(TimeNs now) {
  return uint64_t{3} << 60 | (now & ((uint64_t{1} << 60) - 1));
}
constexpr TokenKind token_kind(uint64_t token) { return static_cast<TokenKind>(token >> 60); }
constexpr uint32_t token_sequence(uint64_t token) { return static_cast<uint32_t>(token); }
constexpr uint64_t token_chunk(uint64_t token) { return token >> 32 & (kMaxChunksPerPut - 1); }
constexpr TimeNs token_time(uint64_t token) { return token & ((uint64_t{1} << 60) - 1); }

class LinkPair {
 public:
  struct Config {
    int index = 0;
    LinkOptions::Pair rails;
    Rail* rail = nullptr;
    uint64_t endpoint_tag = 0;
    TimeNs rail_timeout_ns = 0;
    TimeNs rate_window_ns = 10 * kMillisecond;  // as in LinkOptions
    TimeNs rate_memory_ns = 200 * kMillisecond;
    TimeNs slow_after_ns = 200 * kMillisecond;
    uint64_t slow_after_bytes = 1 << 20;
    TimeNs sample_every_ns = 100 * kMillisecond;
    uint64_t sample_every_bytes = uint64_t{8} << 20;
    int adapter = -1;  // a number for each adapter name; -1: none
    int peer = 0;
    TraceSource trace_source = 0;
  };
  explicit LinkPair(const Config& config);

  int index() const { return config_.index; }
  int local_rail() const { return config_.rails.local_rail; }
  int peer_rail() const { return config_.rails.peer_rail; }
  int tier() const { return config_.rails.tier; }
  const RailInfo& info() const { return config_.rail->info(); }
  uint16_t epoch() const { return epoch_; }
  RailState state() const { return state_; }
  wire::NoteHeader header(wire::NoteKind kind, uint64_t sequence = 0) const {
    return {.kind = kind, .epoch = epoch_, .sequence = static_cast<uint32_t>(sequence)};
  }

  // --- The endpoint. open() begins an epoch; close() begins its fence, closed() is its end.
  Status open(uint16_t epoch);
  Status connect(const std::vector<std::byte>& address);
  std::vector<std::byte> address() const;
  void close();
  void on_connected(TimeNs now);
  void on_closed();
  bool connected() const { return connected_; }
  bool closed() const { return closed_ || endpoint_ == nullptr; }
  bool has_endpoint() const { return endpoint_ != nullptr; }
  // Only outside of a rail's progress.
  void destroy_endpoint() { endpoint_.reset(); }
  // An epoch that began and ended at the peer alone.
  void skip_to_epoch(uint16_t epoch) { epoch_ = epoch; }

  // --- Health. Answers what the table asks for.
  HealthStep on_health(HealthEvent event, TimeNs now);
  // New work may be posted.
  bool postable() const {
    return connected_ && broken_.is_ok() &&
           (state_ == RailState::kUp || state_ == RailState::kRejoining);
  }
  bool waiting() const { return in_flight_puts_ != 0; }
  // When what is in flight counts as overdue if nothing is completed before; kNever: nothing is.
  TimeNs overdue_at(TimeNs now) const;
  TimeNs life_at() const { return life_at_; }  // its last completion, or its first put since
  TimeNs suspect_since() const { return suspect_since_; }
  TimeNs up_since() const { return up_since_; }
  // The endpoint refused a put for good; not ok once.
  Status take_broken();

  // --- Posting. kBackPressure, or an error that also marks the pair as broken.
  Status post_chunk(const Put& put, TimeNs now);
  Status post_small(const Put& put, TimeNs now);
  Status post_note(const Notification& note, TimeNs now);
  struct Completion {
    uint64_t bytes = 0;
    TimeNs posted_at = 0;
    TimeNs held_back = 0;  // RailEvent::held_back
    bool ok = false;
  };
  void on_chunk_done(const Completion& done, TimeNs now);
  void on_chunk_received(uint64_t bytes, TimeNs now);
  void on_small_done(const Completion& done, TimeNs now);
  // From a put that is small enough to measure the way, not the rate.
  void learn_base(const Completion& done, TimeNs now);

  // --- For striping.
  // What is small and urgent comes from the peer on this one, and this side sends its own there
  // too.
  bool followed() const { return followed_; }
  void set_followed(bool followed) { followed_ = followed; }
  StripeRail stripe_view(const StripeRequest& sizes, TimeNs now) const;
  void count_elsewhere(uint64_t bytes) { elsewhere_bytes_ += bytes; }  // a chunk on another pair
  double base_ns() const { return base_ns_; }
  uint64_t chunk_bytes_in_flight() const { return rate_.bytes_in_flight(); }
  double bytes_per_second(TimeNs now) const { return rate_.bytes_per_second(now); }
  bool well_measured() const { return rate_.measured(); }
  bool slow() const { return stats_.slow; }
  // The rate in the last sample of a slow rail that nobody has judged; 0: there is none.
  double new_sample() const { return sample_.judged ? 0 : sample_.bytes_per_second; }
  // True: it is fast again.
  bool judge_sample(bool fast);
  // `far`: its rate is far below its fastest sibling's now. True once that has been so without a
  // break for long enough and over enough data: bursts of a shallow queue look like a fast rail.
  bool stays_far(bool far, TimeNs now);
  void demote();
  void promote();
  void reset_posted() { bytes_posted_ = 0; }

  // --- How long chunks may be: a rail that loses or reorders packets passes only short ones.
  static constexpr uint64_t kShortChunk = 16 * 1024;  // no shorter limit is set
  // `longest` of those that an epoch has not passed.
  void on_chunks_lost(uint64_t longest);

  // --- Statistics.
  void count_message_sent(uint64_t bytes) { stats_.message_bytes_sent += bytes; }
  void count_message_received(uint64_t bytes) { stats_.message_bytes_received += bytes; }
  void count_lost(uint64_t bytes);  // said to be delivered, was not
  void count_replayed(uint64_t bytes) { stats_.replayed_bytes += bytes; }
  void count_damaged() { stats_.damaged++; }
  // `counts`: it was in use before.
  void note_failure(const Status& status, bool counts);
  // Of a failure that was noted: what is behind it.
  void explain_failure(std::string why) { stats_.last_error = std::move(why); }
  const std::string& last_error() const { return stats_.last_error; }
  uint32_t failures() const { return stats_.failures; }
  LinkRailStats stats(TimeNs now) const;  // all but `standby`
  // A record of this rail and peer.
  void trace(TraceKind kind, uint64_t a, uint64_t b, TimeNs now) const {
    trace_at(now, {.kind = kind,
                   .rail = static_cast<int8_t>(local_rail()),
                   .source = config_.trace_source,
                   .peer = config_.peer,
                   .a = a,
                   .b = b});
  }
  // Names a chunk in the trace:  peer 16 | put 28 | chunk 20
  uint64_t chunk_id(uint64_t put, uint64_t chunk) const {
    return static_cast<uint64_t>(config_.peer) << 48 | (put & 0xfffffff) << 20 | (chunk & 0xfffff);
  }
  std::string describe() const;  // "eth0 at 10.0.0.1 (rail 0 to its rail 1): <last error>"

 private:
  static constexpr uint64_t kAnyChunk = uint64_t{1} << 30;

  Status post(const Put& put, TimeNs now);
  void on_done(bool ok, TimeNs now);
  void grow_share(TimeNs now);
  void grow_chunks(uint64_t passed);
  uint64_t passed(double bytes_per_second, uint64_t chunk, TimeNs now) const;
  void learn_sample(const Completion& done, TimeNs now);

  Config config_;
  std::unique_ptr<Endpoint> endpoint_;
  uint16_t epoch_ = 0;
  RailState state_ = RailState::kProbing;
  bool connected_ = false;
  bool closing_ = false;
  bool closed_ = false;
  bool followed_ = false;
  Status broken_;

  RateMeter rate_;
  struct Sample {
    uint64_t bytes = 0;
    double bytes_per_second = 0;
    bool judged = true;
  };
  Sample sample_;
  SlowSamples samples_;  // since it has been slow
  double base_ns_;
  double share_ = 1;              // of its rate that a rejoining rail is given
  uint32_t share_delivered_ = 0;  // chunks since the share grew, in both directions
  uint64_t longest_chunk_ = kAnyChunk;
  uint64_t in_flight_puts_ = 0;
  uint64_t bytes_posted_ = 0;
  TimeNs life_at_ = 0;  // last completion, or the first post after none was in flight
  // The chunk that is next to be completed began to pass the rail about then.
  TimeNs passing_since_ = 0;
  TimeNs data_at_ = 0;            // last chunk posted
  TimeNs far_since_ = 0;          // 0: not far slower than its siblings
  uint64_t far_delivered_ = 0;    // bytes_delivered() then
  uint64_t elsewhere_bytes_ = 0;  // chunks that siblings carried since then
  TimeNs suspect_since_ = 0;
  TimeNs up_since_ = 0;
  LinkRailStats stats_;
};

// Up to wire::kMaxPairs of them, by pair index.
using LinkPairs = std::vector<LinkPair>;

// The lowest tier of those that can be posted to; kNoTier: there is none.
constexpr int kNoTier = std::numeric_limits<int>::max();
int best_tier(const LinkPairs& pairs);
constexpr uint32_t kAnyPair = ~uint32_t{0};
// The pair for what is small and urgent, of the best tier among those in `usable` (bits by index);
// null: none of them can be posted to.
LinkPair* shortest_way(LinkPairs& pairs, uint32_t usable = kAnyPair);
// Marks pairs that are far slower than their fastest sibling (of the same tier), and those that no
// longer are.
void update_slow(LinkPairs& pairs, TimeNs now);

}  // namespace railccl
