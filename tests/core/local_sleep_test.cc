// Sleeping and waking: no wake-up is lost however the steps of sleeper and ringer interleave; abort
// wakes all; a process that was killed stops nobody from looking; waiting policy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "src/core/waiting_policy.h"
#include "tests/core/local_harness.h"

namespace railccl {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;

struct Counter final : LocalNotificationSink {
  uint64_t got = 0;
  void on_local_notification(int, uint64_t) override { ++got; }
};

// Two ranks hand one tag to and fro, and sleep at once each time: a single lost wake-up stops both.
std::string hand_over(LocalDomain& domain, int rank, uint64_t rounds, bool mixed) {
  Counter sink;
  for (uint64_t round = 1; round <= rounds; ++round) {
    const bool on_futex = mixed ? (round + static_cast<uint64_t>(rank)) % 2 == 0 : rank == 0;
    const WaitHow how = on_futex ? WaitHow::kFutex : WaitHow::kDescriptor;
    if (rank == 0 && !domain.notify(1, round)) return "no room";
    if (!wait_until(domain, how, [&] { return domain.poll(sink), sink.got == round; })) {
      return fmt::format("rank {} slept through round {}", rank, round);
    }
    if (rank == 1 && !domain.notify(0, round)) return "no room";
  }
  return {};
}

TEST(LocalDoorbell, NoWakeUpIsLost) {
  for (const RanksAs as : {RanksAs::kThreads, RanksAs::kProcesses}) {
    for (const bool mixed : {false, true}) {
      const auto texts = run_ranks({.ranks = 2, .as = as}, [&](LocalDomain& domain, int rank) {
        return hand_over(domain, rank, 5000, mixed);
      });
      EXPECT_THAT(texts, Each(IsEmpty()));
    }
  }
}

TEST(LocalDoorbell, ARingBeforeTheSleepEndsTheSleepAtOnce) {
  const auto texts = run_ranks({.ranks = 2}, [](LocalDomain& domain, int rank) -> std::string {
    Counter sink;
    if (rank == 0) {
      return wait_until(domain, WaitHow::kYield, [&] { return domain.poll(sink); }) &&
                     domain.notify(1, 0)
                 ? ""
                 : "was not told";
    }
    domain.prepare_sleep(LocalDomain::SleepOn::kFutex);
    if (!domain.notify(0, 0)) return "no room";
    // Rank 0 rings now, or has rung; a lost ring would make this last for an hour.
    while (!domain.poll(sink)) domain.sleep(3600 * kSecond);
    domain.finish_sleep();
    return {};
  });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

TEST(LocalDoorbell, TheDescriptorIsQuietAfterTheSleep) {
  const auto texts = run_ranks({.ranks = 1}, [](LocalDomain& domain, int) -> std::string {
    const Result<int> descriptor = domain.wake_fd();
    if (!descriptor) return std::string(descriptor.error().message());
    if (*descriptor != domain.wake_fd().value_or(-1)) return "another descriptor the second time";
    const auto rings = [&] {
      char byte;
      return recv(*descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
    };
    domain.prepare_sleep(LocalDomain::SleepOn::kDescriptor);
    if (!domain.notify(0, 1)) return "no room";
    if (!rings()) return "the doorbell was not rung";
    domain.finish_sleep();
    if (rings()) return "still readable";
    if (!domain.notify(0, 2)) return "no room";
    return rings() ? "rung although nobody sleeps" : "";
  });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

TEST(LocalAbort, WakesAllAndTheFirstValueSticks) {
  for (const RanksAs as : {RanksAs::kThreads, RanksAs::kProcesses}) {
    const auto texts =
        run_ranks({.ranks = 4, .as = as}, [](LocalDomain& domain, int rank) -> std::string {
          Counter sink;
          if (rank == 3) {
            // Each of the others says that it is about to sleep.
            if (!wait_until(domain, WaitHow::kFutex,
                            [&] { return domain.poll(sink), sink.got == 3; })) {
              return "the others did not come";
            }
            domain.raise_abort(11);
            domain.raise_abort(22);
            domain.ring_all();
            return domain.aborted() == 11 ? "" : "the second value won";
          }
          if (!domain.notify(3, 1)) return "no room";
          const WaitHow how = rank == 0 ? WaitHow::kDescriptor : WaitHow::kFutex;
          const bool woken = wait_until(domain, how, [&] { return domain.aborted() != 0; });
          return woken && domain.aborted() == 11 ? "" : "slept through the abort";
        });
    EXPECT_THAT(texts, Each(IsEmpty()));
  }
}

TEST(LocalDeath, TheOthersOfAKilledRankKeepControl) {
  auto texts = run_ranks(
      {.ranks = 3, .as = RanksAs::kProcesses}, [](LocalDomain& domain, int rank) -> std::string {
        Counter sink;
        int64_t value = rank;
        auto* const bytes = reinterpret_cast<std::byte*>(&value);
        if (rank == 2) {
          if (!domain.notify(0, 1) || !domain.notify(1, 1)) return "no room";
          domain.prepare_sleep(LocalDomain::SleepOn::kFutex);
          raise(SIGKILL);
        }
        if (!wait_until(domain, WaitHow::kFutex, [&] { return domain.poll(sink); })) {
          return "rank 2 said nothing";
        }
        domain.small_begin(
            {.type = DataType::kInt64, .count = 1, .input = bytes, .output = bytes, .sequence = 1});
        for (int i = 0; i < 1000; ++i) {
          if (domain.small_step() != LocalDomain::Progress::kWaiting) return "ended without rank 2";
          domain.ring_all();
        }
        if (value != rank) return "something was computed";
        domain.raise_abort(5);
        domain.ring_all();
        return wait_until(domain, WaitHow::kFutex, [&] { return domain.aborted() == 5; })
                   ? ""
                   : "no abort";
      });
  EXPECT_THAT(texts[2], ::testing::HasSubstr("ended with status 0x9"));
  texts[2].clear();
  EXPECT_THAT(texts, Each(IsEmpty()));
}

TEST(DefaultSpin, IsNoneOnAMachineWithOneProcessor) {
  EXPECT_EQ(default_spin_ns(1), 0);
  EXPECT_GT(default_spin_ns(2), 0);
}

TEST(YieldDelay, GrowsWhileNobodyTakesTheCoreAndIsNoneOnceSomebodyDoes) {
  constexpr TimeNs kAlone = 400;
  constexpr TimeNs kTaken = 30 * kMicrosecond;
  YieldDelay delay;
  const TimeNs least = delay.ns();
  EXPECT_GT(least, 0);
  delay.yielded(kAlone);
  EXPECT_EQ(delay.ns(), 2 * least);
  for (int i = 0; i < 10; ++i) delay.yielded(kAlone);
  EXPECT_EQ(delay.ns(), 8 * least);
  delay.yielded(kTaken);
  EXPECT_EQ(delay.ns(), 0);
  delay.yielded(kAlone);
  EXPECT_EQ(delay.ns(), least);
}

TEST(WaitingPolicy, SpinsWithACorePerRankYieldsWithoutAndSleepsAfterAWhile) {
  using Action = WaitingPolicy::Action;
  WaitingPolicy alone({.ranks = 2, .cores = 2, .spin_ns = 100});
  EXPECT_EQ(alone.idle(1000), Action::kSpin);
  EXPECT_EQ(alone.idle(1099), Action::kSpin);
  EXPECT_EQ(alone.idle(1100), Action::kSleep);
  alone.reset();
  EXPECT_EQ(alone.idle(1200), Action::kSpin);
  WaitingPolicy patient({.ranks = 2, .cores = 2, .spin_ns = kMillisecond});
  EXPECT_EQ(patient.idle(0), Action::kSpin);
  EXPECT_EQ(patient.idle(100 * kMicrosecond), Action::kYield);
  EXPECT_EQ(patient.idle(kMillisecond), Action::kSleep);

  WaitingPolicy crowded({.ranks = 3, .cores = 2, .yield_ns = 100});
  EXPECT_TRUE(crowded.crowded());
  EXPECT_EQ(crowded.idle(1000), Action::kYield);
  EXPECT_EQ(crowded.idle(1100), Action::kSleep);

  WaitingPolicy spin({.mode = WaitMode::kSpin, .ranks = 9, .cores = 1});
  EXPECT_EQ(spin.idle(0), Action::kSpin);
  EXPECT_EQ(spin.idle(kSecond), Action::kSpin);
  WaitingPolicy sleep({.mode = WaitMode::kSleep});
  EXPECT_EQ(sleep.idle(0), Action::kSleep);
}

TEST(SpinBudget, GrowsWithSleepsThatEndAtOnceAndShrinksWithLongOnes) {
  SpinBudget budget(50 * kMicrosecond);
  EXPECT_EQ(budget.spin_ns(), 50 * kMicrosecond);
  for (int i = 0; i < 10; ++i) budget.slept(60 * kMicrosecond);
  EXPECT_EQ(budget.spin_ns(), 400 * kMicrosecond);
  budget.slept(10 * kMillisecond);
  EXPECT_EQ(budget.spin_ns(), 200 * kMicrosecond);
  for (int i = 0; i < 10; ++i) budget.slept(10 * kMillisecond);
  EXPECT_EQ(budget.spin_ns(), 50 * kMicrosecond);
  SpinBudget patient(kSecond);
  patient.slept(kMicrosecond);
  EXPECT_EQ(patient.spin_ns(), kSecond);
}

}  // namespace
}  // namespace railccl
