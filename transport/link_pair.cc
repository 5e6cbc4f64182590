#include "transport/link_pair.h"

#include <algorithm>
#include <array>
#include <limits>

namespace railccl {
namespace {

constexpr double kUnknownBytesPerSecond = 1.25e8;
constexpr double kUnknownBaseNs = 40'000;
constexpr TimeNs kOverdueFloorNs = 50 * kMillisecond;
constexpr double kOverdueTimes = 8;
constexpr double kFirstShare = 0.125;
constexpr uint32_t kShareChunks = 8;  // delivered, and the share doubles
constexpr double kBaseDecay = 1.0 / 64;
// Less than this part of slow_after_bytes measures the way and not the rate.
constexpr uint64_t kSmallestSample = 16;
// A very slow rail needs long for the bytes that it takes to call it slow; then an eighth will do.
constexpr TimeNs kFarLongNs = 2 * kSecond;

RateMeterOptions meter_options(const LinkPair::Config& config, double bytes_per_second) {
  return {
      .initial_bytes_per_second = bytes_per_second > 0 ? bytes_per_second : kUnknownBytesPerSecond,
      .window_ns = config.rate_window_ns,
      .memory_ns = config.rate_memory_ns};
}

}  // namespace

LinkPair::LinkPair(const Config& config)
    : config_(config),
      rate_(meter_options(config, static_cast<double>(config.rail->info().bytes_per_second))),
      samples_(config.slow_after_bytes) {
  const TimeNs latency = config.rail->info().latency_ns;
  base_ns_ = latency > 0 ? 2 * static_cast<double>(latency) : kUnknownBaseNs;
}

Status LinkPair::open(uint16_t epoch) {
  RAILCCL_ASSIGN(endpoint_, config_.rail->open_endpoint(config_.endpoint_tag));
  epoch_ = epoch;
  connected_ = closing_ = closed_ = false;
  broken_ = Status::ok();
  in_flight_puts_ = 0;
  return Status::ok();
}

Status LinkPair::connect(const std::vector<std::byte>& address) {
  return endpoint_->connect(address);
}

std::vector<std::byte> LinkPair::address() const {
  return endpoint_ ? endpoint_->address() : std::vector<std::byte>{};
}

void LinkPair::close() {
  connected_ = false;
  if (endpoint_ == nullptr || closing_) return;
  closing_ = true;
  endpoint_->close();
}

void LinkPair::on_connected(TimeNs now) {
  if (closing_) return;
  connected_ = true;
  life_at_ = data_at_ = now;
}

void LinkPair::on_closed() {
  connected_ = false;
  closing_ = closed_ = true;
}

HealthStep LinkPair::on_health(HealthEvent event, TimeNs now) {
  const RailState before = state_;
  const HealthStep step = next_health(before, event);
  state_ = step.next;
  if (before == state_) return step;
  if (state_ == RailState::kSuspect) suspect_since_ = now;
  if (state_ == RailState::kUp && before == RailState::kProbing) up_since_ = now;
  if (state_ == RailState::kUp) share_ = 1;
  if (state_ == RailState::kRejoining) {
    up_since_ = now;
    share_ = kFirstShare;
    share_delivered_ = 0;
    stats_.recoveries++;
  }
  return step;
}

TimeNs LinkPair::overdue_at(TimeNs now) const {
  if (!waiting()) return kNever;
  const double transfer =
      static_cast<double>(rate_.bytes_in_flight()) / std::max(rate_.bytes_per_second(now), 1.0);
  const double expected = kOverdueTimes * (base_ns_ + transfer * 1e9);
  const TimeNs longest = config_.rail_timeout_ns / 2;
  const TimeNs floor = std::min(kOverdueFloorNs, longest);
  const double limit = static_cast<double>(longest);
  return life_at_ + std::max(floor, static_cast<TimeNs>(std::min(expected, limit)));
}

Status LinkPair::take_broken() {
  if (state_ == RailState::kDown) return Status::ok();
  return broken_;
}

Status LinkPair::post(const Put& put, TimeNs now) {
  Status status = endpoint_->put(put);
  if (status.is_ok()) {
    if (in_flight_puts_++ == 0) life_at_ = now;
  } else if (status.code() != Code::kBackPressure) {
    broken_ = status;
  }
  return status;
}

Status LinkPair::post_chunk(const Put& put, TimeNs now) {
  RAILCCL_TRY(post(put, now));
  const bool idle = rate_.bytes_in_flight() == 0;
  rate_.on_posted(put.bytes, now);
  if (idle) passing_since_ = now;
  data_at_ = now;
  elsewhere_bytes_ = 0;
  bytes_posted_ += put.bytes;
  stats_.chunks_sent++;
  return Status::ok();
}

Status LinkPair::post_small(const Put& put, TimeNs now) { return post(put, now); }

Status LinkPair::post_note(const Notification& note, TimeNs now) {
  return post(Put{.token = note_token(now), .notification = note}, now);
}

void LinkPair::on_done(bool ok, TimeNs now) {
  if (in_flight_puts_ != 0) --in_flight_puts_;
  // What is given up has stalled, too.
  if (now > life_at_) stats_.stall_ns_max = std::max(stats_.stall_ns_max, now - life_at_);
  if (ok) life_at_ = now;
}

void LinkPair::learn_base(const Completion& done, TimeNs now) {
  if (done.held_back == kNever || now < done.posted_at + done.held_back) return;
  // A floor that rises slowly: what queues now and then is not the way's own latency.
  const auto sample = static_cast<double>(now - done.posted_at - done.held_back);
  // And a host that looked away for long does not count as a long way.
  const double rise = std::min(sample - base_ns_, base_ns_) * kBaseDecay;
  base_ns_ = sample < base_ns_ ? sample : base_ns_ + rise;
}

// What comes proves a rail that rejoins as well: a rank may have nothing to send.
void LinkPair::on_chunk_received(uint64_t bytes, TimeNs now) {
  stats_.bytes_received += bytes;
  grow_share(now);
}

void LinkPair::grow_share(TimeNs now) {
  if (share_ >= 1 || ++share_delivered_ < kShareChunks) return;
  share_delivered_ = 0;
  share_ = std::min(1.0, share_ * 2);
  if (share_ >= 1) on_health(HealthEvent::kProven, now);
}

void LinkPair::on_chunk_done(const Completion& done, TimeNs now) {
  on_done(done.ok, now);
  if (!done.ok) {
    rate_.on_lost(done.bytes, now);
    return;
  }
  rate_.on_delivered(done.bytes, now);
  // The completion took its way back: by now the next chunk has been passing for about so long.
  passing_since_ = now - std::min(now, static_cast<TimeNs>(base_ns_));
  if (stats_.slow && rate_.bytes_in_flight() == 0) learn_sample(done, now);
  stats_.bytes_sent += done.bytes;
  grow_share(now);
  grow_chunks(done.bytes);
}

void LinkPair::learn_sample(const Completion& done, TimeNs now) {
  const double way = std::min(base_ns_ / 2, static_cast<double>(now - done.posted_at) / 2);
  const double busy = static_cast<double>(now - done.posted_at) - way;
  if (busy <= 0 || done.bytes < config_.slow_after_bytes / kSmallestSample) return;
  sample_ = {.bytes = done.bytes,
             .bytes_per_second = static_cast<double>(done.bytes) * 1e9 / busy,
             .judged = false};
}

bool LinkPair::judge_sample(bool fast) {
  sample_.judged = true;
  return samples_.add(sample_.bytes, fast);
}

bool LinkPair::stays_far(bool far, TimeNs now) {
  if (!far) {
    far_since_ = 0;
  } else if (far_since_ == 0) {
    far_since_ = std::max<TimeNs>(now, 1);
    far_delivered_ = rate_.bytes_delivered();
  }
  if (!far) return false;
  const bool long_enough = now - far_since_ >= kFarLongNs;
  return now - far_since_ >= config_.slow_after_ns &&
         rate_.bytes_delivered() - far_delivered_ >=
             (long_enough ? config_.slow_after_bytes / 8 : config_.slow_after_bytes);
}

void LinkPair::demote() {
  far_since_ = 0;
  stats_.slow = true;
  ++stats_.demotions;
  samples_ = SlowSamples(config_.slow_after_bytes);
  sample_ = {};
}

void LinkPair::promote() {
  stats_.slow = false;
  ++stats_.promotions;
  samples_ = SlowSamples(config_.slow_after_bytes);
  if (rate_.bytes_in_flight() == 0) {
    rate_ = RateMeter(meter_options(config_, sample_.bytes_per_second));
  }
}

void LinkPair::on_small_done(const Completion& done, TimeNs now) {
  on_done(done.ok, now);
  if (done.ok) learn_base(done, now);
}

// At most a chunk and what fits on the way: a rail that has stalled passes nothing more.
uint64_t LinkPair::passed(double bytes_per_second, uint64_t chunk, TimeNs now) const {
  if (rate_.bytes_in_flight() == 0 || now < passing_since_) return 0;
  const double rate = bytes_per_second * 1e-9;
  const double most = static_cast<double>(chunk) + base_ns_ * rate;
  const double since = static_cast<double>(now - passing_since_) * rate;
  return std::min(rate_.bytes_in_flight(), static_cast<uint64_t>(std::min(since, most)));
}

StripeRail LinkPair::stripe_view(const StripeRequest& sizes, TimeNs now) const {
  StripeRail view;
  view.usable = postable();
  if (!view.usable) return view;
  view.tier = tier();
  view.demoted = stats_.slow;
  view.sample_due =
      elsewhere_bytes_ >= config_.sample_every_bytes && now - data_at_ >= config_.sample_every_ns;
  view.least_sample_bytes = samples_.least_bytes();
  view.followed = followed_;
  view.base_ns = base_ns_;
  view.bytes_per_second = rate_.bytes_per_second(now) * share_;
  view.in_flight = rate_.bytes_in_flight();
  view.window =
      window_bytes(view.bytes_per_second, base_ns_, chunk_bytes_at(view.bytes_per_second, sizes));
  view.bytes_posted = bytes_posted_;
  view.longest_chunk = longest_chunk_;
  view.adapter = config_.adapter;
  view.adapter_bytes_per_second = static_cast<double>(info().adapter_bytes_per_second);
  return view;
}

void LinkPair::on_chunks_lost(uint64_t longest) {
  // That short ones got lost says nothing of how long one may be.
  if (longest < 2 * kShortChunk) return;
  longest_chunk_ = std::max(kShortChunk, std::min(longest_chunk_, longest / 2));
}

// By a little for each that was about as long as is allowed: one too long costs a failure.
void LinkPair::grow_chunks(uint64_t passed) {
  constexpr uint64_t kPart = 256;
  if (longest_chunk_ == kAnyChunk || passed < longest_chunk_ / 2) return;
  longest_chunk_ = std::min(kAnyChunk, longest_chunk_ + longest_chunk_ / kPart);
}

void LinkPair::count_lost(uint64_t bytes) {
  stats_.bytes_sent -= std::min(stats_.bytes_sent, bytes);
}

void LinkPair::note_failure(const Status& status, bool counts) {
  if (counts) stats_.failures++;
  stats_.last_error = std::string(status.message());
}

LinkRailStats LinkPair::stats(TimeNs now) const {
  LinkRailStats stats = stats_;
  stats.state = state_;
  stats.bytes_per_second = rate_.bytes_per_second(now);
  stats.latency_us = base_ns_ * 1e-3;
  return stats;
}

std::string LinkPair::describe() const {
  return fmt::format("{}{}{} (rail {} to its rail {}): {}", info().name,
                     info().address.empty() ? "" : " at ", info().address, local_rail(),
                     peer_rail(), stats_.last_error.empty() ? "no answer" : stats_.last_error);
}

int best_tier(const LinkPairs& pairs) {
  int best = kNoTier;
  for (const LinkPair& pair : pairs) {
    if (pair.postable()) best = std::min(best, pair.tier());
  }
  return best;
}

LinkPair* shortest_way(LinkPairs& pairs, uint32_t usable) {
  const auto may_serve = [usable](const LinkPair& pair) {
    return pair.postable() && (usable >> pair.index() & 1) != 0;
  };
  int tier = kNoTier;
  for (const LinkPair& pair : pairs) {
    if (may_serve(pair)) tier = std::min(tier, pair.tier());
  }
  std::array<Way, wire::kMaxPairs> ways;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const LinkPair& pair = pairs[i];
    const bool serves = may_serve(pair) && pair.tier() == tier;
    ways[i] = {.end_ns = serves ? pair.base_ns() : std::numeric_limits<double>::infinity(),
               .base_ns = pair.base_ns(),
               .followed = pair.followed()};
  }
  const int first = first_as_quick(std::span(ways).first(pairs.size()));
  return first < 0 ? nullptr : &pairs[static_cast<size_t>(first)];
}

namespace {

double fastest_of_tier(const LinkPairs& pairs, int tier, TimeNs now) {
  double fastest = 0;
  for (const LinkPair& pair : pairs) {
    if (pair.tier() == tier && pair.postable() && pair.well_measured()) {
      fastest = std::max(fastest, pair.bytes_per_second(now));
    }
  }
  return fastest;
}

}  // namespace

void update_slow(LinkPairs& pairs, TimeNs now) {
  int tier = kNoTier;
  double fastest = 0;
  for (LinkPair& pair : pairs) {
    if (!pair.postable()) continue;
    if (pair.tier() != tier) {
      tier = pair.tier();
      fastest = fastest_of_tier(pairs, tier, now);
    }
    if (!pair.slow()) {
      const bool far =
          pair.well_measured() && is_demoted(pair.bytes_per_second(now), fastest, false);
      if (pair.stays_far(far, now)) pair.demote();
    } else if (const double sample = pair.new_sample(); sample > 0) {
      if (pair.judge_sample(!is_demoted(sample, fastest, true))) pair.promote();
    }
  }
}

}  // namespace railccl
