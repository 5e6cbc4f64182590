// The board and the notification rings: what was published is seen whole, slots and rings that are
// full say so and go on when they are not, nothing is lost or out of order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/core/local_harness.h"

namespace railccl {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;

constexpr RanksAs kBoth[] = {RanksAs::kThreads, RanksAs::kProcesses};
constexpr WaitHow kWays[] = {WaitHow::kYield, WaitHow::kAdaptive, WaitHow::kFutex,
                             WaitHow::kDescriptor};

ReadyRecord record_of(int rank, uint64_t sequence) {
  const uint64_t base = sequence * 1000 + static_cast<uint64_t>(rank) * 10;
  return {.sequence = sequence,
          .fingerprint = {base, base + 1, base + 2, base + 3},
          .input = {.kind = BufferHandle::Kind::kProcess, .offset = base + 4, .bytes = base + 5},
          .output = {.kind = BufferHandle::Kind::kShared, .segment = base + 6, .bytes = base + 7}};
}

bool same(const ReadyRecord& a, const ReadyRecord& b) {
  return a.sequence == b.sequence && std::equal(a.fingerprint, a.fingerprint + 4, b.fingerprint) &&
         a.input.kind == b.input.kind && a.input.offset == b.input.offset &&
         a.input.bytes == b.input.bytes && a.output.kind == b.output.kind &&
         a.output.segment == b.output.segment && a.output.bytes == b.output.bytes;
}

// One operation: publish, read everyone's record twice (also late, when others are ahead), finish.
std::string one_operation(LocalDomain& domain, int rank, int ranks, uint64_t sequence,
                          std::mt19937_64& random) {
  const auto how = [&] { return kWays[random() % std::size(kWays)]; };
  if (!wait_until(domain, how(), [&] { return domain.publish(record_of(rank, sequence)); })) {
    return fmt::format("could not publish {}", sequence);
  }
  for (int peer = 0; peer < ranks; ++peer) {
    const ReadyRecord* ready = nullptr;
    if (!wait_until(domain, how(),
                    [&] { return (ready = domain.ready(peer, sequence)) != nullptr; })) {
      return fmt::format("rank {} never saw record {} of {}", rank, sequence, peer);
    }
    if (!same(*ready, record_of(peer, sequence))) return fmt::format("record {} torn", sequence);
  }
  domain.finish(sequence);
  return {};
}

TEST(LocalBoard, EveryRankSeesEveryRecord) {
  for (const RanksAs as : kBoth) {
    for (const int ranks : {1, 2, 5, 8}) {
      const auto texts =
          run_ranks({.ranks = ranks, .as = as}, [&](LocalDomain& domain, int rank) -> std::string {
            std::mt19937_64 random(static_cast<uint64_t>(rank) + 1);
            // Gaps, as small collectives leave them.
            uint64_t sequence = 0;
            std::mt19937_64 common(7);
            for (int i = 0; i < 300; ++i) {
              sequence += 1 + common() % 3;
              std::string text = one_operation(domain, rank, ranks, sequence, random);
              if (!text.empty()) return text;
            }
            return {};
          });
      EXPECT_THAT(texts, Each(IsEmpty()));
    }
  }
}

TEST(LocalBoard, ARankFarAheadIsHeldBackUntilTheSlowestHasFinished) {
  const auto texts = run_ranks({.ranks = 2}, [](LocalDomain& domain, int rank) -> std::string {
    if (rank == 0) {
      uint64_t sequence = 1;
      while (sequence < 1000 && domain.publish(record_of(0, sequence))) domain.finish(sequence++);
      if (sequence < 3 || sequence == 1000) return fmt::format("held back at {}", sequence);
      if (!domain.notify(1, sequence)) return "no room for a notification";
      const bool released = wait_until(domain, WaitHow::kFutex,
                                       [&] { return domain.publish(record_of(0, sequence)); });
      return released ? "" : "never released";
    }
    struct : LocalNotificationSink {
      uint64_t tag = 0;
      void on_local_notification(int, uint64_t t) override { tag = t; }
    } sink;
    if (!wait_until(domain, WaitHow::kFutex, [&] { return domain.poll(sink); })) return "no tag";
    // All that was published before is still there, whole.
    for (uint64_t sequence = 1; sequence < sink.tag; ++sequence) {
      const ReadyRecord* const ready = domain.ready(0, sequence);
      if (ready == nullptr || !same(*ready, record_of(0, sequence))) {
        return fmt::format("record {} is gone", sequence);
      }
    }
    domain.finish(1);
    return {};
  });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

// Checks that tags of each sender come in order, none missing.
class InOrder final : public LocalNotificationSink {
 public:
  explicit InOrder(int ranks) : next_(static_cast<size_t>(ranks)) {}
  void on_local_notification(int sender, uint64_t tag) override {
    uint64_t& next = next_[static_cast<size_t>(sender)];
    if (tag != tag_of(sender, next)) wrong_ = true;
    ++next;
    ++got_;
  }
  static uint64_t tag_of(int sender, uint64_t n) {
    return (n << 8 | static_cast<uint64_t>(sender)) * 0x9e3779b97f4a7c15;
  }
  uint64_t got() const { return got_; }
  bool wrong() const { return wrong_; }

 private:
  std::vector<uint64_t> next_;
  uint64_t got_ = 0;
  bool wrong_ = false;
};

std::string storm(LocalDomain& domain, int rank, int ranks, uint64_t each) {
  std::mt19937_64 random(static_cast<uint64_t>(rank) * 31 + 5);
  InOrder sink(ranks);
  std::vector<uint64_t> sent(static_cast<size_t>(ranks), 0);
  const uint64_t all = each * static_cast<uint64_t>(ranks);
  uint64_t total_sent = 0;
  // To someone who has not had all yet, until his ring is full.
  const auto send_burst = [&] {
    if (total_sent == all) return false;
    auto peer = static_cast<size_t>(random() % static_cast<uint64_t>(ranks));
    while (sent[peer] == each) peer = (peer + 1) % sent.size();
    uint64_t burst = 1 + random() % 300;
    const uint64_t before = total_sent;
    for (; burst > 0 && sent[peer] < each; --burst) {
      if (!domain.notify(static_cast<int>(peer), InOrder::tag_of(rank, sent[peer]))) break;
      ++sent[peer];
      ++total_sent;
    }
    return total_sent != before;
  };
  while (total_sent < all || sink.got() < all) {
    const WaitHow how = kWays[random() % std::size(kWays)];
    const bool moved = wait_until(domain, how, [&] {
      const bool polled = domain.poll(sink);
      const bool sent_some = send_burst();
      return polled || sent_some || (total_sent == all && sink.got() == all);
    });
    if (!moved)
      return fmt::format("rank {} stuck at {} sent, {} got", rank, total_sent, sink.got());
    if (sink.wrong()) return fmt::format("rank {} got a tag out of order", rank);
  }
  return {};
}

TEST(LocalNotifications, AStormLosesNothingAndKeepsTheOrder) {
  for (const RanksAs as : kBoth) {
    for (const int ranks : {1, 2, 4, 8}) {
      const auto texts = run_ranks({.ranks = ranks, .as = as}, [&](LocalDomain& domain, int rank) {
        return storm(domain, rank, ranks, 3000);
      });
      EXPECT_THAT(texts, Each(IsEmpty()));
    }
  }
}

TEST(LocalNotifications, AFullRingSaysSoAndGoesOnWhenItWasRead) {
  const auto texts = run_ranks({.ranks = 2}, [](LocalDomain& domain, int rank) -> std::string {
    InOrder sink(2);
    if (rank == 0) {
      uint64_t sent = 0;
      while (sent < 100'000 && domain.notify(1, InOrder::tag_of(0, sent))) ++sent;
      if (sent == 0 || sent == 100'000) return fmt::format("full after {}", sent);
      // Rank 1 reads only now.
      (void)domain.publish({.sequence = sent});
      const bool room = wait_until(domain, WaitHow::kFutex,
                                   [&] { return domain.notify(1, InOrder::tag_of(0, sent)); });
      return room ? "" : "no room after reading";
    }
    uint64_t sent = 0;
    const bool told = wait_until(domain, WaitHow::kYield, [&] {
      for (uint64_t n = 1; n < 1000; ++n) {
        if (domain.ready(0, n) != nullptr) sent = n;
      }
      return sent != 0;
    });
    if (!told) return "was not told";
    const bool got = wait_until(domain, WaitHow::kFutex, [&] {
      domain.poll(sink);
      return sink.got() == sent + 1;
    });
    return got && !sink.wrong() ? "" : fmt::format("got {} of {}", sink.got(), sent + 1);
  });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

}  // namespace
}  // namespace railccl
