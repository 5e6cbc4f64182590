#include "src/base/fast_clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace railccl {
namespace {

#if defined(__x86_64__)

// A reading of both clocks is trusted when it took no longer than this many counts: otherwise the
// thread was interrupted between them.
constexpr uint64_t kTrustedCounts = 4000;
// An anchor serves this long; then the thread takes a new one.
constexpr TimeNs kAnchorLife = 5 * kMillisecond;
constexpr TimeNs kShortestBaseline = kMillisecond;

bool has_invariant_counter() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  constexpr unsigned kInvariantBit = 1u << 8;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & kInvariantBit) != 0;
}

// Per thread: a moment known on both clocks, and how fast the counter runs.
struct Anchor {
  uint64_t count = 0;
  TimeNs time = 0;
  TimeNs latest = 0;         // the last answer: time does not go back
  double ns_per_count = 0;   // 0: not known yet
  uint64_t life_counts = 0;  // kAnchorLife in counts
};
// A few bytes of every thread, so the fixed place that dlopen keeps for such variables has room.
[[gnu::tls_model("initial-exec")]] constinit thread_local Anchor anchor;

TimeNs not_before_latest(TimeNs now) {
  if (now > anchor.latest) anchor.latest = now;
  return anchor.latest;
}

// The exact clock; also moves the anchor, and learns the counter's rate from the move.
[[gnu::noinline]] TimeNs anchor_again() {
  const uint64_t before = __rdtsc();
  const TimeNs now = system_clock().now_ns();
  const uint64_t after = __rdtsc();
  if (after - before > kTrustedCounts) return not_before_latest(now);
  const bool first = anchor.time == 0;
  const TimeNs elapsed = now - anchor.time;
  if (!first && elapsed < kShortestBaseline) return not_before_latest(now);
  const uint64_t middle = before + (after - before) / 2;
  if (!first && middle > anchor.count) {
    anchor.ns_per_count = static_cast<double>(elapsed) / static_cast<double>(middle - anchor.count);
    anchor.life_counts =
        static_cast<uint64_t>(static_cast<double>(kAnchorLife) / anchor.ns_per_count);
  }
  anchor.count = middle;
  anchor.time = now;
  return not_before_latest(now);
}

TimeNs counter_now() {
  const uint64_t counts = __rdtsc() - anchor.count;
  if (counts >= anchor.life_counts) return anchor_again();
  const auto since = static_cast<TimeNs>(static_cast<double>(counts) * anchor.ns_per_count);
  return not_before_latest(anchor.time + since);
}

const bool use_counter = has_invariant_counter();

#else

constexpr bool use_counter = false;
TimeNs counter_now() { return system_clock().now_ns(); }

#endif

class FastClock final : public Clock {
 public:
  TimeNs now_ns() const override { return fast_now_ns(); }
};

}  // namespace

TimeNs fast_now_ns() { return use_counter ? counter_now() : system_clock().now_ns(); }

const char* fast_clock_source() { return use_counter ? "tsc" : "clock_gettime"; }

const Clock& fast_clock() {
  static const FastClock* const clock = new FastClock;
  return *clock;
}

}  // namespace railccl
