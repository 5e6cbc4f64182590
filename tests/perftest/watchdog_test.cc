#include "perftest/common/watchdog.h"

#include <gtest/gtest.h>

#include <future>

namespace railccl::perftest {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(Watchdog, NamesTheThreadThatIsLate) {
  std::promise<int> late;
  Watchdog watchdog(3, milliseconds(1), [&](int thread) { late.set_value(thread); });
  watchdog.arm(2);
  EXPECT_EQ(late.get_future().get(), 2);
  EXPECT_TRUE(watchdog.timed_out());
}

TEST(Watchdog, IsQuietWhenDisarmedOrWithoutLimit) {
  int calls = 0;
  {
    Watchdog watchdog(1, hours(1), [&](int) { ++calls; });
    { const Watched watched(watchdog, 0); }
    EXPECT_FALSE(watchdog.timed_out());
    Watchdog never(1, milliseconds(0), [&](int) { ++calls; });
    never.arm(0);
  }
  EXPECT_EQ(calls, 0);
}

}  // namespace
}  // namespace railccl::perftest
