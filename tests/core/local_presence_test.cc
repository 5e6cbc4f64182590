// Who may be reaching into whose memory when a communicator ends: a rank that is inside is waited
// for, one that is not does not get in any more, and nothing is written after that.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "tests/core/local_harness.h"

namespace railccl {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;

class NoTags : public LocalNotificationSink {
 public:
  void on_local_notification(int /*index*/, uint64_t tag) override { last = tag; }
  uint64_t last = 0;
};

bool told(LocalDomain& domain, uint64_t tag) {
  NoTags sink;
  return wait_until(domain, WaitHow::kYield, [&] { return domain.poll(sink), sink.last == tag; });
}

TEST(LocalPresence, NestsAndEndsForGoodWithWithdraw) {
  for (const RanksAs as : {RanksAs::kThreads, RanksAs::kProcesses}) {
    const auto texts = run_ranks({.as = as}, [](LocalDomain& domain, int rank) -> std::string {
      const auto seen = [&](size_t number) { return domain.others_inside().size() == number; };
      if (rank == 0) {
        if (!told(domain, 1) || !seen(1)) return "who entered twice and left once is out";
        if (!domain.notify(1, 1) || !told(domain, 2) || !seen(0)) return "who left is inside";
        if (!domain.notify(1, 2) || !told(domain, 3) || !seen(0)) return "who withdrew is inside";
        return "";
      }
      domain.enter();
      domain.enter();
      domain.leave();
      if (!domain.notify(0, 1) || !told(domain, 1)) return "rank 0 said nothing";
      domain.leave();
      if (!seen(0)) return "a rank sees itself";
      if (!domain.notify(0, 2) || !told(domain, 2)) return "rank 0 said nothing more";
      domain.enter();
      domain.withdraw();
      domain.leave();
      domain.enter();
      return domain.notify(0, 3) ? "" : "no room";
    });
    EXPECT_THAT(texts, Each(IsEmpty()));
  }
}

TEST(LocalPresence, WhoHasDiedInsideIsForgotten) {
  auto texts = run_ranks({.as = RanksAs::kProcesses}, [](LocalDomain& domain, int rank) {
    if (rank == 1) {
      domain.enter();
      if (domain.notify(0, 1)) raise(SIGKILL);
      return std::string("no room");
    }
    if (!told(domain, 1)) return std::string("rank 1 said nothing");
    if (domain.others_inside() != std::vector{1}) return std::string("rank 1 is not inside");
    domain.forget(1);
    return std::string(domain.others_inside().empty() ? "" : "the dead are waited for");
  });
  EXPECT_THAT(texts[1], ::testing::HasSubstr("ended with status 0x9"));
  EXPECT_THAT(texts[0], IsEmpty());
}

// Rank 1 writes whenever it may; rank 0 ends it at some moment, waits for it to be out, and takes
// the memory for its own.
TEST(LocalPresence, NothingIsWrittenOnceAllAreOut) {
  for (int round = 0; round < 200; ++round) {
    const RanksAs as = round % 2 == 0 ? RanksAs::kThreads : RanksAs::kProcesses;
    const auto texts = run_ranks({.as = as}, [round](LocalDomain& domain, int rank) -> std::string {
      std::byte* const memory = domain.scratch(0);
      constexpr size_t kBytes = 4096;
      if (rank == 1) {
        while (domain.aborted() == 0) {
          domain.enter();
          if (domain.aborted() == 0) std::memset(memory, 1, kBytes);
          domain.leave();
        }
        return "";
      }
      std::this_thread::sleep_for(std::chrono::microseconds(17 * (round % 20)));
      domain.raise_abort(1);
      if (!wait_until(domain, WaitHow::kSpin, [&] { return domain.others_inside().empty(); })) {
        return "rank 1 stays inside";
      }
      std::memset(memory, 2, kBytes);
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      for (size_t i = 0; i < kBytes; ++i) {
        if (memory[i] != std::byte{2}) return fmt::format("byte {} was written to", i);
      }
      return "";
    });
    EXPECT_THAT(texts, Each(IsEmpty())) << "round " << round;
  }
}

}  // namespace
}  // namespace railccl
