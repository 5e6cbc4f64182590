#include "perftest/rail_perf/statistics.h"

#include <algorithm>

namespace railccl::perftest::railperf {
namespace {

constexpr double kNsPerSecond = 1e9;

struct Point {
  uint64_t ns;
  uint64_t puts;
};

double slope(const Point& from, const Point& to) {
  const uint64_t ns = std::max<uint64_t>(to.ns - std::min(from.ns, to.ns), 1);
  return static_cast<double>(to.puts - from.puts) / static_cast<double>(ns);
}

// The lower convex hull of points that come from left to right: among them is the one that any
// point further right sees at the steepest slope.
class LowerHull {
 public:
  void add(const Point& point) {
    while (points_.size() >= 2 && !is_below(points_[points_.size() - 2], points_.back(), point)) {
      points_.pop_back();
    }
    points_.push_back(point);
  }
  double steepest_to(const Point& to) const {
    // Slopes to `to` rise up to the tangent point and fall after it.
    size_t low = 0;
    size_t high = points_.size() - 1;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (slope(points_[middle], to) < slope(points_[middle + 1], to)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return slope(points_[low], to);
  }

 private:
  static bool is_below(const Point& left, const Point& middle, const Point& right) {
    // Of kMostKept puts, in hours: below 2^64.
    return (right.ns - left.ns) * (middle.puts - left.puts) <
           (middle.ns - left.ns) * (right.puts - left.puts);
  }
  std::vector<Point> points_;
};

// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016.
uint64_t next_random(uint64_t& state) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1d;
}

}  // namespace

void RoundTrips::clear() {
  count_ = sum_ = most_ = 0;
  least_ = ~uint64_t{0};
  random_ = 0x9e3779b97f4a7c15;
}

// Vitter's algorithm R.
void RoundTrips::add(uint64_t ns) {
  const uint64_t place = count_ < kMostKept ? count_ : next_random(random_) % (count_ + 1);
  if (place < kMostKept) kept_[place] = ns;
  ++count_;
  sum_ += ns;
  least_ = std::min(least_, ns);
  most_ = std::max(most_, ns);
}

IterationStats RoundTrips::half() const {
  if (count_ == 0) return {};
  constexpr double kHalfInUs = 0.5e-3;
  std::vector<double> halves;
  halves.reserve(std::min<size_t>(count_, kMostKept));
  for (size_t i = 0; i < std::min<size_t>(count_, kMostKept); ++i) {
    halves.push_back(static_cast<double>(kept_[i]) * kHalfInUs);
  }
  IterationStats stats = iteration_stats(halves);
  stats.min = static_cast<double>(least_) * kHalfInUs;
  stats.max = static_cast<double>(most_) * kHalfInUs;
  stats.mean = static_cast<double>(sum_) * kHalfInUs / static_cast<double>(count_);
  return stats;
}

void PutTimes::clear() { posts_ = ends_ = 0; }

void PutTimes::post(uint64_t now_ns) {
  if (posts_ < kMostKept) posted_[posts_++] = now_ns;
}

void PutTimes::done(uint64_t now_ns) {
  if (ends_ < kMostKept) done_[ends_++] = now_ns;
}

double PutTimes::peak_rate() const {
  return railperf::peak_rate(std::span(posted_).first(posts_), std::span(done_).first(ends_)) *
         kNsPerSecond;
}

double peak_rate(std::span<const uint64_t> posted, std::span<const uint64_t> done) {
  LowerHull starts;
  double peak = 0;
  for (size_t j = 0; j < std::min(posted.size(), done.size()); ++j) {
    starts.add({.ns = posted[j], .puts = j});
    peak = std::max(peak, starts.steepest_to({.ns = done[j], .puts = j + 1}));
  }
  return peak;
}

}  // namespace railccl::perftest::railperf
