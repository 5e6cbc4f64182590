#include "transport/striping.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "transport/wire.h"

namespace railccl {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr uint64_t kSizeUnit = 4096;
// How much after the common end a rail may end, in times of a least chunk. Hysteresis: a rail in
// use stays in use a little longer than an idle one is taken into use.
constexpr double kBusySlack = 0.5;
constexpr double kIdleSlack = 0.1;
constexpr TimeNs kLookAwayNs = 2 * kMillisecond;
constexpr uint64_t kMaxWindowBytes = uint64_t{32} << 20;
constexpr TimeNs kSampleNs = 10 * kMillisecond;
constexpr uint64_t kMostSampleBytes = uint64_t{1} << 20;

struct Candidate {
  double rate = 0;   // bytes per ns, within the adapter's limit
  double ready = 0;  // ns until what is in flight is done
};
using Candidates = std::array<Candidate, wire::kMaxPairs>;

double nominal_rate(const StripeRail& rail) { return std::max(rail.bytes_per_second, 1.0) * 1e-9; }

// Rails of one adapter that together promise more than it can carry get their part of its limit.
double rate_within_adapter(std::span<const StripeRail> rails, size_t index) {
  const StripeRail& rail = rails[index];
  const double rate = nominal_rate(rail);
  if (rail.adapter < 0 || rail.adapter_bytes_per_second <= 0) return rate;
  double sum = 0;
  for (const StripeRail& other : rails) {
    if (other.usable && other.adapter == rail.adapter) sum += nominal_rate(other);
  }
  const double limit = rail.adapter_bytes_per_second * 1e-9;
  return sum > limit ? rate * limit / sum : rate;
}

double ready_ns(const StripeRail& rail, double rate) {
  const uint64_t ahead = rail.in_flight - std::min(rail.passed, rail.in_flight);
  return rail.base_ns + static_cast<double>(ahead) / rate;
}

bool any_regular(std::span<const StripeRail> rails) {
  return std::any_of(rails.begin(), rails.end(),
                     [](const StripeRail& rail) { return rail.usable && !rail.demoted; });
}

bool has_room(const StripeRail& rail, uint64_t bytes) {
  return !rail.full && (rail.in_flight == 0 || rail.in_flight + bytes <= rail.window);
}

uint64_t round_up(uint64_t bytes) { return (bytes + kSizeUnit - 1) / kSizeUnit * kSizeUnit; }

// The rest of a put is not left as a crumb.
uint64_t without_crumb(uint64_t chunk, const StripeRequest& request) {
  const bool crumb = request.put_left - chunk < request.small_bytes / 2;
  return crumb && request.put_left <= request.max_chunk_bytes ? request.put_left : chunk;
}

uint64_t measured_chunk(const StripeRequest& request, const StripeRail& rail,
                        const Candidate& candidate, double end) {
  if (request.whole || request.put_left <= request.small_bytes) return request.put_left;
  uint64_t chunk = std::min(chunk_bytes_at(rail.bytes_per_second, request), request.put_left);
  const double balanced = std::max(0.0, (end - candidate.ready) * candidate.rate);
  if (balanced < static_cast<double>(chunk)) {
    const uint64_t least = std::min(request.small_bytes, chunk);
    chunk = std::clamp(round_up(static_cast<uint64_t>(balanced)), least, chunk);
  }
  return without_crumb(chunk, request);
}

StripeChoice sample(std::span<const StripeRail> rails, const StripeRequest& request) {
  if (request.whole || request.put_left <= request.small_bytes) return {};
  for (size_t i = 0; i < rails.size(); ++i) {
    const StripeRail& rail = rails[i];
    if (!rail.usable || !rail.sample_due || rail.full || rail.in_flight != 0) continue;
    const double fits = nominal_rate(rail) * static_cast<double>(kSampleNs);
    // Less would measure the way, not the rate, and keep the rail's bad name for ever.
    const uint64_t least = std::max(request.small_bytes, rail.least_sample_bytes);
    const uint64_t wanted =
        std::clamp(static_cast<uint64_t>(fits), least, std::max(least, kMostSampleBytes));
    const uint64_t bytes = std::min({wanted, request.put_left, request.max_chunk_bytes});
    return {.rail = static_cast<int>(i), .bytes = std::max<uint64_t>(bytes, 1)};
  }
  return {};
}

StripeChoice choose_measured(std::span<const StripeRail> rails, const StripeRequest& request) {
  if (const StripeChoice choice = sample(rails, request); choice.rail >= 0) return choice;
  const bool regular_only = any_regular(rails);
  const double end = common_end_ns(rails, request.queued);
  double earliest = kInfinite;
  double best = kInfinite;
  StripeChoice choice;
  bool best_in_time = false;
  for (size_t i = 0; i < rails.size(); ++i) {
    const StripeRail& rail = rails[i];
    if (!rail.usable || (regular_only && rail.demoted)) continue;
    Candidate candidate{.rate = rate_within_adapter(rails, i)};
    candidate.ready = ready_ns(rail, candidate.rate);
    const uint64_t bytes = measured_chunk(request, rail, candidate, end);
    const double finish = candidate.ready + static_cast<double>(bytes) / candidate.rate;
    earliest = std::min(earliest, finish);
    if (!has_room(rail, bytes) || finish >= best) continue;
    best = finish;
    const double slack = rail.in_flight == 0 ? kIdleSlack : kBusySlack;
    best_in_time =
        finish <= end + slack * static_cast<double>(request.small_bytes) / candidate.rate;
    choice = {.rail = static_cast<int>(i), .bytes = bytes};
  }
  return best_in_time || best <= earliest ? choice : StripeChoice{};
}

StripeChoice choose_equal(std::span<const StripeRail> rails, const StripeRequest& request) {
  int least = -1;
  uint64_t usable = 0;
  for (size_t i = 0; i < rails.size(); ++i) {
    if (!rails[i].usable) continue;
    ++usable;
    if (least < 0 || rails[i].bytes_posted < rails[static_cast<size_t>(least)].bytes_posted) {
      least = static_cast<int>(i);
    }
  }
  if (least < 0) return {};
  const StripeRail& rail = rails[static_cast<size_t>(least)];
  uint64_t bytes = request.put_left;
  if (!request.whole && request.put_left > request.small_bytes) {
    const uint64_t part = round_up((request.put_left + usable - 1) / usable);
    bytes = std::min(chunk_bytes_at(rail.bytes_per_second, request), request.put_left);
    bytes = std::clamp(part, std::min(request.small_bytes, bytes), bytes);
    bytes = without_crumb(bytes, request);
  }
  if (!has_room(rail, bytes)) return {};
  return {.rail = least, .bytes = bytes};
}

}  // namespace

void keep_best_tier(std::span<StripeRail> rails) {
  int best = std::numeric_limits<int>::max();
  for (const StripeRail& rail : rails) {
    if (rail.usable) best = std::min(best, rail.tier);
  }
  for (StripeRail& rail : rails) rail.usable = rail.usable && rail.tier == best;
}

StripeChoice choose_rail(std::span<const StripeRail> rails, const StripeRequest& request,
                         Striping striping) {
  if (request.put_left == 0 || rails.size() > wire::kMaxPairs) return {};
  StripeRequest bounded = request;
  bounded.small_bytes = std::min(request.small_bytes, request.max_chunk_bytes);
  StripeChoice choice =
      striping == Striping::kEqual ? choose_equal(rails, bounded) : choose_measured(rails, bounded);
  if (choice.rail >= 0 && !request.whole) {
    choice.bytes = std::min(choice.bytes, rails[static_cast<size_t>(choice.rail)].longest_chunk);
  }
  return choice;
}

int first_as_quick(std::span<const Way> ways) {
  const auto quickest = std::ranges::min_element(ways, {}, &Way::end_ns);
  if (quickest == ways.end() || quickest->end_ns == kInfinite) return -1;
  const auto first = [&](double as_quick, bool followed) {
    const double latest = quickest->end_ns + as_quick * quickest->base_ns;
    const auto found = std::ranges::find_if(
        ways, [&](const Way& way) { return way.end_ns <= latest && (way.followed || !followed); });
    return found == ways.end() ? -1 : static_cast<int>(found - ways.begin());
  };
  const int leader = first(kAsQuickFollowed, true);
  return leader >= 0 ? leader : first(kAsQuick, false);
}

int quickest_rail(std::span<const StripeRail> rails, uint64_t bytes) {
  std::array<Way, wire::kMaxPairs> ways;
  for (size_t i = 0; i < rails.size(); ++i) {
    const StripeRail& rail = rails[i];
    ways[i] = {.end_ns = kInfinite, .base_ns = rail.base_ns, .followed = rail.followed};
    if (!rail.usable || rail.full) continue;
    const double rate = rate_within_adapter(rails, i);
    ways[i].end_ns = ready_ns(rail, rate) + static_cast<double>(bytes) / rate;
  }
  return first_as_quick(std::span(ways).first(rails.size()));
}

uint64_t chunk_bytes_at(double bytes_per_second, const StripeRequest& request) {
  uint64_t bytes = request.chunk_bytes;
  if (bytes == 0) {
    const uint64_t times = request.lone ? kLongTimes : 1;
    const double fits = bytes_per_second * 1e-9 * static_cast<double>(times * kChunkNs);
    const auto limited = static_cast<uint64_t>(std::min(fits, double{kMaxChunkBytes}));
    const uint64_t least = request.small_bytes;
    const uint64_t longest = kLongTimes * least;
    bytes = std::max(round_up(limited),
                     request.lone ? longest : std::clamp(round_up(request.queued), least, longest));
  }
  return std::clamp<uint64_t>(bytes, 1, std::max<uint64_t>(request.max_chunk_bytes, 1));
}

uint64_t window_bytes(double bytes_per_second, double round_trip_ns, uint64_t chunk) {
  const double bytes =
      bytes_per_second * 1e-9 * (2 * round_trip_ns + 2 * static_cast<double>(kLookAwayNs));
  const auto limited = static_cast<uint64_t>(std::min(bytes, double{kMaxWindowBytes}));
  return std::max(limited, 2 * chunk);
}

double common_end_ns(std::span<const StripeRail> rails, uint64_t bytes) {
  const bool regular_only = any_regular(rails);
  Candidates candidates;
  size_t count = 0;
  for (size_t i = 0; i < rails.size() && count < candidates.size(); ++i) {
    const StripeRail& rail = rails[i];
    if (!rail.usable || (regular_only && rail.demoted)) continue;
    Candidate& candidate = candidates[count++];
    candidate.rate = rate_within_adapter(rails, i);
    candidate.ready = ready_ns(rail, candidate.rate);
  }
  std::sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(count),
            [](const Candidate& a, const Candidate& b) { return a.ready < b.ready; });
  // The rails that are ready first take the bytes, until the end lies before the next one is ready.
  double end = kInfinite;
  double rates = 0;
  double weighted_ready = 0;
  for (size_t i = 0; i < count && candidates[i].ready < end; ++i) {
    rates += candidates[i].rate;
    weighted_ready += candidates[i].rate * candidates[i].ready;
    end = (static_cast<double>(bytes) + weighted_ready) / rates;
  }
  return end;
}

bool is_demoted(double bytes_per_second, double fastest_sibling, bool demoted_now) {
  return bytes_per_second < fastest_sibling / (demoted_now ? 6 : 8);
}

}  // namespace railccl
