// What the engine decides by the time alone: who is expected to wait, what may be held, and how
// often one looks.
#include <gtest/gtest.h>

#include "src/core/control_looks.h"
#include "src/core/send_hold.h"
#include "src/core/wait_habit.h"

namespace railccl {
namespace {

class Habit : public testing::Test {
 protected:
  // Whether the caller was expected at once; he comes when so much time has passed.
  bool begin_and_wait(TimeNs after) {
    const bool expected = habit_.begun(now_);
    now_ += after;
    habit_.came(now_);
    return expected;
  }
  void SetUp() override {
    for (uint32_t i = 0; i < WaitHabit::kBelieved; ++i) {
      EXPECT_FALSE(begin_and_wait(WaitHabit::kAtOnce)) << i;
    }
  }
  TimeNs now_ = 1000;
  WaitHabit habit_;
};

TEST_F(Habit, WhoWaitedAtOnceIsExpectedTo) {
  EXPECT_TRUE(begin_and_wait(0));
  EXPECT_FALSE(habit_.expects());
  EXPECT_FALSE(habit_.overdue(now_ + kSecond));
}

TEST_F(Habit, WhoCameLateIsNotExpected) {
  EXPECT_TRUE(begin_and_wait(WaitHabit::kAtOnce + 1));
  EXPECT_FALSE(begin_and_wait(0));
}

TEST_F(Habit, WhoBeginsTwoBeforeHeWaitsIsNotExpected) {
  EXPECT_TRUE(habit_.begun(now_));
  EXPECT_FALSE(habit_.begun(now_));
  habit_.came(now_);
  EXPECT_EQ(habit_.count(), WaitHabit::kBelieved + 2);
}

TEST_F(Habit, WhoDoesNotComeIsOverdueAndNotBelievedAgain) {
  EXPECT_TRUE(habit_.begun(now_));
  EXPECT_FALSE(habit_.overdue(now_ + WaitHabit::kAtOnce));
  EXPECT_TRUE(habit_.expects());
  EXPECT_TRUE(habit_.overdue(now_ + WaitHabit::kAtOnce + 1));
  EXPECT_FALSE(habit_.expects());
  EXPECT_FALSE(habit_.overdue(now_ + WaitHabit::kAtOnce + 1));
  habit_.came(now_ + WaitHabit::kAtOnce + 2);
  EXPECT_FALSE(begin_and_wait(0));
}

TEST(StandbyLooks, AreRarerTheLongerAStreamGoesOn) {
  StandbyLooks looks(1000);
  EXPECT_GT(looks.pause(), WaitHabit::kAtOnce);
  EXPECT_EQ(looks.pause_after(1000 + looks.pause()), StandbyLooks::kOften);
  EXPECT_EQ(looks.pause_after(1000 + 2 * kMillisecond), 2 * kMillisecond / StandbyLooks::kShare);
  EXPECT_EQ(looks.pause_after(1000 + kSecond), StandbyLooks::kRarely);
  looks.stream_ended(kSecond);
  EXPECT_EQ(looks.pause_after(kSecond), StandbyLooks::kOften);
}

// When the next look is due, a tenth of the least pause at a time.
TimeNs next_look(const ControlLooks& looks, TimeNs now) {
  while (!looks.due(now)) now += ControlLooks::kSoon / 10;
  return now;
}

TEST(ControlLooks, AreRarerWhileNothingComes) {
  ControlLooks looks;
  TimeNs now = 1000;
  EXPECT_TRUE(looks.due(now)) << "nobody has looked";
  looks.looked(now, true);
  EXPECT_EQ(next_look(looks, now), now + ControlLooks::kSoon);
  TimeNs pause = 0;
  for (int i = 0; i < 10; ++i) {
    looks.looked(now, false);
    const TimeNs next = next_look(looks, now);
    EXPECT_GE(next - now, pause);
    pause = next - now;
    now = next;
  }
  EXPECT_EQ(pause, ControlLooks::kRarely);
  looks.looked(now, true);
  EXPECT_EQ(next_look(looks, now), now + ControlLooks::kSoon);
}

TEST(ControlLooks, ASleepThatWasCalledOffIsFollowedByOne) {
  ControlLooks looks;
  for (int i = 0; i < 10; ++i) looks.looked(1000, false);
  looks.slept(1000 + ControlLooks::kSoon, SleepEnd::kNotSlept);
  EXPECT_FALSE(looks.due(1000 + ControlLooks::kSoon));
  looks.slept(1000 + ControlLooks::kSoon, SleepEnd::kCalled);
  EXPECT_TRUE(looks.due(1000 + ControlLooks::kSoon));
}

// Quiet sleeps replace looks, but not for ever.
TEST(ControlLooks, AQuietSleepIsAsGoodForAWhile) {
  ControlLooks looks;
  looks.looked(1000, true);
  TimeNs now = 1000;
  while (now < 1000 + ControlLooks::kRarely) {
    looks.slept(now, SleepEnd::kQuiet);
    EXPECT_FALSE(looks.due(now));
    now += 2 * ControlLooks::kSoon;
  }
  looks.slept(now, SleepEnd::kQuiet);
  EXPECT_TRUE(looks.due(now));
}

// So many operations that had all they needed, one right after the other.
void stream(SendHold& hold, uint32_t operations, TimeNs now) {
  for (uint32_t i = 0; i < operations; ++i) hold.ended(now);
}

TEST(SendHold, BelievesInTheNextCallAfterManyInARow) {
  SendHold hold;
  stream(hold, SendHold::kInARow, 1000);
  EXPECT_FALSE(hold.allows(1000, 1000));
  hold.ended(1000);
  EXPECT_TRUE(hold.allows(1000, 1000));
  EXPECT_FALSE(hold.allows(1000 + SendHold::kSendsMayWait, 1000)) << "held for long enough";
}

TEST(SendHold, WhoTookLongSendsAtOnce) {
  SendHold hold;
  stream(hold, 4 * SendHold::kInARow, 1000);
  const TimeNs late = 1000 + SendHold::kClosely + 1;
  hold.ended(late);
  EXPECT_FALSE(hold.allows(late, late));
}

TEST(SendHold, WhoTookLongAndHadToWaitSendsAtOnce) {
  SendHold hold;
  stream(hold, 4 * SendHold::kInARow, 1000);
  const TimeNs late = 1000 + SendHold::kClosely + 1;
  hold.waits(late);
  hold.ended(late);
  hold.ended(late);
  EXPECT_FALSE(hold.allows(late, late));
}

TEST(SendHold, NeverBelievesWhoWaitsEverySecondTime) {
  SendHold hold;
  for (uint32_t i = 0; i < 10 * SendHold::kInARow; ++i) {
    hold.waits(1000);
    hold.waits(1000);
    hold.ended(1000);
    hold.ended(1000);
    ASSERT_FALSE(hold.allows(1000, 1000)) << "after " << i + 1;
  }
}

TEST(SendHold, BelievesWhoWaitsForLots) {
  SendHold hold;
  stream(hold, 4 * SendHold::kInARow, 1000);
  for (uint32_t lot = 0; lot < 100; ++lot) {
    hold.waits(1000);
    stream(hold, 1 + SendHold::kInARow / 2, 1000);
    ASSERT_TRUE(hold.allows(1000, 1000)) << "at the end of lot " << lot;
  }
}

TEST(SendHold, TheTimeOfASendIsNotTheCallers) {
  SendHold hold;
  TimeNs now = 1000;
  for (uint32_t i = 0; i <= SendHold::kInARow; ++i) {
    now += SendHold::kClosely;
    hold.ended(now);
    EXPECT_EQ(hold.allows(now, now), i == SendHold::kInARow);
    now += SendHold::kClosely;  // in the system call
    hold.left(now);
  }
}

}  // namespace
}  // namespace railccl
