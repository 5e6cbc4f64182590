// Striping as a pure function: a small queueing model of rails is its independent oracle.
#include "transport/striping.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
#include <random>
#include <vector>

namespace railccl {
namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr double kGigabyte = 1e9;

StripeRail idle_rail(double bytes_per_second, double base_ns = 10'000) {
  StripeRequest sizes{.small_bytes = 64 * kKiB, .max_chunk_bytes = kMiB * 1024};
  return {
      .usable = true,
      .base_ns = base_ns,
      .bytes_per_second = bytes_per_second,
      .window = window_bytes(bytes_per_second, base_ns, chunk_bytes_at(bytes_per_second, sizes))};
}

StripeRequest request_of(uint64_t bytes) {
  return {
      .put_left = bytes, .queued = bytes, .small_bytes = 64 * kKiB, .max_chunk_bytes = kMiB * 1024};
}

// Rails that pass chunks one after another at their rate; posts `total` bytes as choose_rail says.
struct Outcome {
  std::vector<uint64_t> bytes;
  std::vector<double> last_end;  // when each rail delivered its last chunk
  double end = 0;
  int chunks = 0;
  bool stuck = false;
};
Outcome simulate(std::vector<StripeRail> rails, uint64_t total, Striping striping) {
  struct Done {
    double at;
    size_t rail;
    uint64_t bytes;
    bool operator<(const Done& other) const { return at > other.at; }
  };
  Outcome outcome{.bytes = std::vector<uint64_t>(rails.size(), 0),
                  .last_end = std::vector<double>(rails.size(), 0)};
  std::vector<double> free_at(rails.size(), 0);
  std::priority_queue<Done> done;
  double now = 0;
  while (total > 0 || !done.empty()) {
    while (total > 0) {
      for (size_t i = 0; i < rails.size(); ++i) {
        const double ahead = std::max(0.0, free_at[i] - now) * rails[i].bytes_per_second * 1e-9;
        rails[i].passed =
            rails[i].in_flight - std::min(rails[i].in_flight, static_cast<uint64_t>(ahead));
      }
      const StripeChoice choice = choose_rail(rails, request_of(total), striping);
      if (choice.rail < 0) break;
      const auto rail = static_cast<size_t>(choice.rail);
      EXPECT_GT(choice.bytes, 0u);
      EXPECT_LE(choice.bytes, total);
      const double rate = rails[rail].bytes_per_second * 1e-9;
      free_at[rail] = std::max(free_at[rail], now) + static_cast<double>(choice.bytes) / rate;
      done.push({free_at[rail] + rails[rail].base_ns, rail, choice.bytes});
      rails[rail].in_flight += choice.bytes;
      rails[rail].bytes_posted += choice.bytes;
      outcome.bytes[rail] += choice.bytes;
      total -= choice.bytes;
      ++outcome.chunks;
    }
    if (done.empty()) {
      outcome.stuck = true;
      return outcome;
    }
    const Done next = done.top();
    done.pop();
    now = next.at;
    rails[next.rail].in_flight -= next.bytes;
    outcome.last_end[next.rail] = now;
    outcome.end = now;
  }
  return outcome;
}

TEST(Striping, SharesFollowTheRates) {
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    SCOPED_TRACE(trial);
    const size_t count = 1 + random() % 8;
    std::vector<StripeRail> rails;
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      // Within a factor of three, so that none is far slower.
      rails.push_back(idle_rail(kGigabyte * (1 + static_cast<double>(random() % 200) / 100)));
      sum += rails.back().bytes_per_second;
    }
    const uint64_t total = 256 * kMiB;
    const Outcome outcome = simulate(rails, total, Striping::kMeasured);
    ASSERT_FALSE(outcome.stuck);
    for (size_t i = 0; i < count; ++i) {
      const double share = static_cast<double>(outcome.bytes[i]) / static_cast<double>(total);
      EXPECT_NEAR(share, rails[i].bytes_per_second / sum, 0.02);
    }
    const double least = static_cast<double>(total) / sum * 1e9;
    EXPECT_LT(outcome.end, least * 1.02 + 100'000);
  }
}

TEST(Striping, RailsEndTogether) {
  std::vector<StripeRail> rails = {idle_rail(2 * kGigabyte), idle_rail(kGigabyte)};
  for (const uint64_t total : {kMiB, 3 * kMiB, 10 * kMiB, 10 * kMiB + 12345}) {
    const Outcome outcome = simulate(rails, total, Striping::kMeasured);
    ASSERT_FALSE(outcome.stuck);
    // Within the time of one least chunk and the crumb that may go with it, on the slower rail.
    EXPECT_LT(std::abs(outcome.last_end[0] - outcome.last_end[1]), 64 * kKiB * 1.5);
    const double least = static_cast<double>(total) / 3;
    EXPECT_LT(outcome.end, least + 64 * kKiB + 20'000);
  }
}

TEST(Striping, SlowRailStaysIdleWhenWaitingEndsSooner) {
  std::vector<StripeRail> rails = {idle_rail(10 * kGigabyte), idle_rail(0.1 * kGigabyte)};
  // 256 KiB take 26 us on the fast rail, a least chunk takes 655 us on the slow one.
  const Outcome outcome = simulate(rails, 256 * kKiB, Striping::kMeasured);
  EXPECT_EQ(outcome.bytes[1], 0u);
  // Also when the fast one is busy at the moment.
  rails[0].in_flight = rails[0].window = kMiB;
  EXPECT_EQ(choose_rail(rails, request_of(256 * kKiB), Striping::kMeasured).rail, -1);
  // With enough queued, it does its part.
  EXPECT_GT(simulate(rails, 512 * kMiB, Striping::kMeasured).bytes[1], 0u);
}

TEST(Striping, LongWayIsNotTakenForLittle) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte, 5'000), idle_rail(kGigabyte, 2'000'000)};
  EXPECT_EQ(simulate(rails, 512 * kKiB, Striping::kMeasured).bytes[1], 0u);
}

TEST(Striping, SmallPutsAreNotCut) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte), idle_rail(kGigabyte)};
  for (const uint64_t bytes : {uint64_t{1}, 4 * kKiB, 64 * kKiB}) {
    EXPECT_EQ(simulate(rails, bytes, Striping::kMeasured).chunks, 1);
    EXPECT_EQ(simulate(rails, bytes, Striping::kEqual).chunks, 1);
  }
  EXPECT_GT(simulate(rails, kMiB, Striping::kMeasured).chunks, 1);
}

TEST(Striping, SmallPutTakesTheRailThatEndsFirst) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte), idle_rail(kGigabyte)};
  rails[0].in_flight = 100 * kKiB;
  EXPECT_EQ(choose_rail(rails, request_of(kKiB), Striping::kMeasured).rail, 1);
  rails[1].base_ns = 1'000'000;
  EXPECT_EQ(choose_rail(rails, request_of(kKiB), Striping::kMeasured).rail, 0);
}

TEST(Striping, UrgentPutsGoByWhatIsUnderWayOnEachRail) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte, 10'000), idle_rail(kGigabyte, 20'000)};
  EXPECT_EQ(quickest_rail(rails, 64), 0);
  rails[0].in_flight = 100 * kKiB;
  EXPECT_EQ(quickest_rail(rails, 64), 1);
  rails[0].passed = 100 * kKiB;
  EXPECT_EQ(quickest_rail(rails, 64), 0);
  rails[0].full = true;
  EXPECT_EQ(quickest_rail(rails, 64), 1);
  rails[1].usable = false;
  EXPECT_EQ(quickest_rail(rails, 64), -1);
}

TEST(Striping, OfRailsThatAreAboutAsQuickUrgentPutsTakeTheFirst) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte, 12'000), idle_rail(kGigabyte, 10'000)};
  EXPECT_EQ(quickest_rail(rails, 64), 0);
  rails[0].base_ns = 13'000;
  EXPECT_EQ(quickest_rail(rails, 64), 1);
  rails[0].base_ns = 12'000;
  rails[0].in_flight = 100 * kKiB;
  EXPECT_EQ(quickest_rail(rails, 64), 1);
}

TEST(Striping, UrgentPutsFollowThePeerUnlessItsRailIsMuchSlower) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte, 10'000), idle_rail(kGigabyte, 19'000)};
  rails[1].followed = true;
  EXPECT_EQ(quickest_rail(rails, 64), 1);
  rails[1].base_ns = 21'000;
  EXPECT_EQ(quickest_rail(rails, 64), 0);
  rails[1].base_ns = 10'000;
  rails[1].full = true;
  EXPECT_EQ(quickest_rail(rails, 64), 0);
}

TEST(Striping, ManyUrgentPutsAreSharedByTheRates) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte, 10'000), idle_rail(kGigabyte / 4, 9'000)};
  for (int i = 0; i < 1000; ++i) {
    const int rail = quickest_rail(rails, 256);
    rails[static_cast<size_t>(rail)].in_flight += 256;
  }
  EXPECT_NEAR(static_cast<double>(rails[0].in_flight), 800.0 * 256, 20.0 * 256);
}

TEST(Striping, ReplaysKeepTheirSize) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte), idle_rail(kGigabyte)};
  StripeRequest request = request_of(3 * kMiB);
  request.whole = true;
  EXPECT_EQ(choose_rail(rails, request, Striping::kMeasured).bytes, 3 * kMiB);
  EXPECT_EQ(choose_rail(rails, request, Striping::kEqual).bytes, 3 * kMiB);
}

TEST(Striping, NothingLongerThanARailPassesUnlessItIsWhole) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte)};
  rails[0].longest_chunk = 20 * kKiB;
  for (const uint64_t bytes : {30 * kKiB, 200 * kKiB, 8 * kMiB}) {
    StripeRequest request = request_of(bytes);
    for (const Striping striping : {Striping::kMeasured, Striping::kEqual}) {
      EXPECT_EQ(choose_rail(rails, request, striping).bytes, 20 * kKiB);
    }
    request.whole = true;
    EXPECT_EQ(choose_rail(rails, request, Striping::kMeasured).bytes, bytes);
  }
}

TEST(Striping, UnusableRailsAreNeverChosen) {
  std::mt19937_64 random(5);
  for (int trial = 0; trial < 5000; ++trial) {
    std::vector<StripeRail> rails;
    bool any_idle = false;
    for (size_t i = 0; i < 1 + random() % 5; ++i) {
      StripeRail rail = idle_rail(1e6 * static_cast<double>(1 + random() % 10000),
                                  static_cast<double>(random() % 1'000'000));
      rail.usable = random() % 3 != 0;
      rail.demoted = random() % 4 == 0;
      rail.sample_due = random() % 4 == 0;
      rail.in_flight = random() % 2 == 0 ? 0 : random() % (2 * rail.window);
      rail.bytes_posted = random() % kMiB;
      any_idle = any_idle || (rail.usable && rail.in_flight == 0);
      rails.push_back(rail);
    }
    StripeRequest request = request_of(1 + random() % (4 * kMiB));
    request.queued = request.put_left + random() % (64 * kMiB);
    request.whole = random() % 4 == 0;
    request.max_chunk_bytes = request.whole ? kMiB * 1024 : 1 + random() % (2 * kMiB);
    const Striping striping = random() % 2 == 0 ? Striping::kMeasured : Striping::kEqual;
    const StripeChoice choice = choose_rail(rails, request, striping);
    if (choice.rail < 0) {
      // Waiting is only right when something is on its way that will end the wait.
      const bool all_idle = std::all_of(rails.begin(), rails.end(), [](const StripeRail& rail) {
        return !rail.usable || rail.in_flight == 0;
      });
      EXPECT_TRUE(!any_idle || !all_idle) << trial;
      continue;
    }
    ASSERT_LT(static_cast<size_t>(choice.rail), rails.size());
    EXPECT_TRUE(rails[static_cast<size_t>(choice.rail)].usable);
    EXPECT_GE(choice.bytes, 1u);
    EXPECT_LE(choice.bytes, request.put_left);
    if (request.put_left > request.small_bytes) {
      EXPECT_LE(choice.bytes, request.max_chunk_bytes);
    }
  }
}

TEST(Striping, DemotedRailsGetSamplesOnly) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte), idle_rail(0.1 * kGigabyte)};
  rails[1].demoted = true;
  EXPECT_EQ(simulate(rails, 64 * kMiB, Striping::kMeasured).bytes[1], 0u);
  rails[1].sample_due = true;
  const StripeChoice sample = choose_rail(rails, request_of(kMiB), Striping::kMeasured);
  EXPECT_EQ(sample.rail, 1);
  // Enough to measure the rate and not the way, and over in about 10 ms.
  EXPECT_GE(sample.bytes, 64 * kKiB);
  EXPECT_LE(sample.bytes, kMiB);
  // Alone it does everything.
  rails[0].usable = rails[1].sample_due = false;
  EXPECT_EQ(simulate(rails, kMiB, Striping::kMeasured).bytes[1], kMiB);
}

TEST(Striping, EqualSplitsEvenly) {
  std::vector<StripeRail> rails = {idle_rail(2 * kGigabyte), idle_rail(kGigabyte),
                                   idle_rail(kGigabyte)};
  const Outcome outcome = simulate(rails, 96 * kMiB, Striping::kEqual);
  ASSERT_FALSE(outcome.stuck);
  for (const uint64_t bytes : outcome.bytes) {
    EXPECT_NEAR(static_cast<double>(bytes), 32.0 * kMiB, 0.5 * kMiB);
  }
}

TEST(Striping, RailsOfOneAdapterShareItsLimit) {
  std::vector<StripeRail> rails = {idle_rail(kGigabyte), idle_rail(kGigabyte),
                                   idle_rail(kGigabyte)};
  rails[0].adapter = rails[1].adapter = 4;
  rails[0].adapter_bytes_per_second = rails[1].adapter_bytes_per_second = kGigabyte;
  // The two count as one rail: all end after (bytes + ready) / 2 GB/s.
  EXPECT_NEAR(common_end_ns(rails, 20'000'000), 20e6 / 2 + 10'000, 1000);
}

TEST(Striping, CommonEndMatchesBisection) {
  std::mt19937_64 random(9);
  for (int trial = 0; trial < 500; ++trial) {
    std::vector<StripeRail> rails;
    for (size_t i = 0; i < 1 + random() % 6; ++i) {
      rails.push_back(idle_rail(1e6 * static_cast<double>(1 + random() % 5000),
                                static_cast<double>(random() % 500'000)));
      rails.back().in_flight = random() % (4 * kMiB);
    }
    const auto bytes = static_cast<double>(1 + random() % (64 * kMiB));
    // Bytes that all rails together can end by `end`.
    const auto carried = [&](double end) {
      double sum = 0;
      for (const StripeRail& rail : rails) {
        const double rate = rail.bytes_per_second * 1e-9;
        const double ready = rail.base_ns + static_cast<double>(rail.in_flight) / rate;
        sum += std::max(0.0, (end - ready) * rate);
      }
      return sum;
    };
    double low = 0;
    double high = 1e15;
    for (int i = 0; i < 200; ++i) {
      const double middle = (low + high) / 2;
      (carried(middle) < bytes ? low : high) = middle;
    }
    const double end = common_end_ns(rails, static_cast<uint64_t>(bytes));
    EXPECT_NEAR(end / high, 1, 1e-6) << trial;
  }
}

TEST(Striping, NoUsableRail) {
  std::vector<StripeRail> rails = {StripeRail{}};
  EXPECT_EQ(choose_rail(rails, request_of(kMiB), Striping::kMeasured).rail, -1);
  EXPECT_EQ(choose_rail(rails, request_of(kMiB), Striping::kEqual).rail, -1);
  EXPECT_EQ(choose_rail({}, request_of(kMiB), Striping::kMeasured).rail, -1);
  EXPECT_EQ(common_end_ns(rails, 1), std::numeric_limits<double>::infinity());
}

TEST(Striping, ChunksLastTensToHundredsOfMicroseconds) {
  const StripeRequest sizes = request_of(kMiB * 1024);
  for (const double rate : {1e9, 12.5e9, 25e9}) {
    const double us = static_cast<double>(chunk_bytes_at(rate, sizes)) / rate * 1e6;
    EXPECT_GE(us, 50) << rate;
    EXPECT_LE(us, 300) << rate;
  }
  // A slow rail: the least chunk, or a longer one while there is more to come.
  for (const auto& [queued, bytes] :
       {std::pair{kKiB, 64 * kKiB}, {128 * kKiB, 128 * kKiB}, {kMiB * 1024, 256 * kKiB}}) {
    EXPECT_EQ(chunk_bytes_at(125e6, request_of(queued)), bytes) << queued;
  }
  StripeRequest lone = request_of(kKiB);
  lone.lone = true;
  EXPECT_EQ(chunk_bytes_at(125e6, lone), 256 * kKiB);
  lone.queued = sizes.queued;
  EXPECT_NEAR(static_cast<double>(chunk_bytes_at(5e9, lone)),
              4 * static_cast<double>(chunk_bytes_at(5e9, sizes)), 16 * 1024);
  EXPECT_EQ(chunk_bytes_at(1e12, lone), kMaxChunkBytes);
  StripeRequest fixed = sizes;
  fixed.chunk_bytes = 12345;
  EXPECT_EQ(chunk_bytes_at(1e9, fixed), 12345u);
}

TEST(Striping, WindowIsAtLeastTwoChunksAndBounded) {
  EXPECT_EQ(window_bytes(1e6, 1000, 64 * kKiB), 128 * kKiB);
  EXPECT_GE(window_bytes(12.5e9, 10'000, kMiB), 2 * 125'000u);
  EXPECT_LE(window_bytes(1e12, 1e9, kMiB), 32 * kMiB);
}

TEST(Striping, DemotionHasHysteresis) {
  EXPECT_TRUE(is_demoted(0.12, 1, false));
  EXPECT_FALSE(is_demoted(0.13, 1, false));
  EXPECT_TRUE(is_demoted(0.15, 1, true));
  EXPECT_FALSE(is_demoted(0.17, 1, true));
}

TEST(StripingTier, OnlyTheLowestTierOfUsableRailsStaysUsable) {
  std::vector<StripeRail> rails(4, idle_rail(kGigabyte));
  rails[0].tier = rails[3].tier = 1;
  rails[2].usable = false;
  keep_best_tier(rails);
  EXPECT_FALSE(rails[0].usable);
  EXPECT_TRUE(rails[1].usable);
  EXPECT_FALSE(rails[2].usable);
  EXPECT_FALSE(rails[3].usable);
}

TEST(StripingTier, TheNextTierWhenNoneOfTheBestIsUsable) {
  std::vector<StripeRail> rails(3, idle_rail(kGigabyte));
  rails[0].usable = false;
  rails[1].tier = 2;
  rails[2].tier = 1;
  keep_best_tier(rails);
  EXPECT_FALSE(rails[1].usable);
  EXPECT_TRUE(rails[2].usable);
}

TEST(StripingTier, ARailThatIsFullIsWaitedFor) {
  std::vector<StripeRail> rails(2, idle_rail(kGigabyte));
  rails[0].full = true;
  rails[1].tier = 1;
  keep_best_tier(rails);
  for (const Striping striping : {Striping::kMeasured, Striping::kEqual}) {
    EXPECT_EQ(choose_rail(rails, request_of(kMiB), striping).rail, -1);
  }
  rails[0].full = false;
  for (const Striping striping : {Striping::kMeasured, Striping::kEqual}) {
    EXPECT_EQ(choose_rail(rails, request_of(kMiB), striping).rail, 0);
  }
}

}  // namespace
}  // namespace railccl
