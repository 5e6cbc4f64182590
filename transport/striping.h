// Which rail carries the next chunk, and how large it is: decided when it is posted, from what the
// rails are doing now. Pure functions over data; the link fills in the data and posts.
//
// Rail i would end a chunk of c bytes at base_i + (what it still has to pass + c) / rate_i. All
// rails together, perfectly balanced, would end everything that is queued at time T ("the common
// end"). A rail takes a chunk only if it does not end after T, or if nothing would end it sooner;
// its size is such that it ends by T. So in the middle of much data every rail has work, at the end
// all rails end together, and a slow rail stays idle when waiting for the fast one ends sooner (the
// guard of Lim et al., ECF, CoNEXT 2017, with T in place of the two-path comparison).
#pragma once

#include <cstdint>
#include <span>

#include "src/base/clock.h"

namespace railccl {

enum class Striping : uint8_t { kMeasured, kEqual };

struct StripeRail {
  bool usable = false;              // up, and the buffers are registered there
  bool demoted = false;             // far slower than its siblings: samples only
  bool sample_due = false;          // carried nothing for long: measure it again
  uint64_t least_sample_bytes = 0;  // with no less
  bool full = false;                // took no more just now, though the window has room
  int tier = 0;                     // see keep_best_tier
  bool followed = false;            // see LinkPair::followed
  double base_ns = 0;               // of a put on the idle rail, without the time its bytes take
  double bytes_per_second = 0;
  uint64_t in_flight = 0;     // bytes, not completed
  uint64_t passed = 0;        // of those, what has gone by now, as far as one can tell
  uint64_t window = 0;        // no more than this in flight
  uint64_t bytes_posted = 0;  // since the set of rails changed: Striping::kEqual balances it
  uint64_t longest_chunk = ~uint64_t{0};  // that it may be given, unless `whole`
  int adapter = -1;                       // rails with the same one share its limit; -1: none
  double adapter_bytes_per_second = 0;    // 0: no limit known
};

struct StripeRequest {
  uint64_t put_left = 0;         // bytes of this put that are not posted yet; not 0
  uint64_t queued = 0;           // of all puts, this one included
  uint64_t small_bytes = 0;      // at most this: one rail; also the least size of a chunk
  uint64_t chunk_bytes = 0;      // a fixed chunk size; 0: by the rail's rate
  uint64_t max_chunk_bytes = 0;  // that every rail can carry
  bool whole = false;            // do not cut: all of put_left is one chunk (a replay)
  bool lone = false;             // there is one rail to choose from: nothing to balance
};

struct StripeChoice {
  int rail = -1;  // -1: wait for a completion
  uint64_t bytes = 0;
};
// Of the rails that are usable those of the lowest tier stay so. A rail that is full still counts:
// what it has no room for waits for it.
void keep_best_tier(std::span<StripeRail> rails);

StripeChoice choose_rail(std::span<const StripeRail> rails, const StripeRequest& request,
                         Striping striping);

// Acknowledgements travel with what the peer sends on the same rail. So a rail counts as quick as
// the quickest one when its way is longer by no more than this part, and of such rails the first is
// taken, which the peer then takes too; or the one that it is seen to take.
constexpr double kAsQuick = 0.25;
constexpr double kAsQuickFollowed = 1;

struct Way {
  double end_ns;   // when what is sent that way has come; infinite: it takes nothing now
  double base_ns;  // of what is alone there
  bool followed;   // see LinkPair::followed
};
// Its index; -1: none takes anything.
int first_as_quick(std::span<const Way> ways);

// The rail on which an urgent put of so many bytes ends first, or about first, past what is queued
// and without regard to the window, a demoted one too; -1: none takes it now.
int quickest_rail(std::span<const StripeRail> rails, uint64_t bytes);

// Chunks last about this long on their rail: each costs its put, its notification and their
// handling on both sides. They are this many times as long where there is one rail; on rails so
// slow that the least size counts, up to as many times while that much is queued.
constexpr TimeNs kChunkNs = 150 * kMicrosecond;
constexpr uint64_t kLongTimes = 4;
constexpr uint64_t kMaxChunkBytes = uint64_t{4} << 20;
uint64_t chunk_bytes_at(double bytes_per_second, const StripeRequest& request);

// Bytes in flight that keep a rail busy: twice what fits in its round trip and the time in which a
// progress loop may look away, at least two chunks; more would only decide earlier than needed.
uint64_t window_bytes(double bytes_per_second, double round_trip_ns, uint64_t chunk);

// The time, in ns from now, at which `bytes` more would be done over all usable rails in perfect
// balance; infinite when there is none.
double common_end_ns(std::span<const StripeRail> rails, uint64_t bytes);

// Below an eighth of the fastest sibling a rail is demoted; above a sixth it is promoted again.
// What is faster is worth more than its samples would show.
bool is_demoted(double bytes_per_second, double fastest_sibling, bool demoted_now);

}  // namespace railccl
