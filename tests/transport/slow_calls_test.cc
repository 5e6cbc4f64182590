// What is given to SlowCalls is done in another thread, in order, and waited for.
#include "transport/slow_calls.h"

#include <gmock/gmock.h>

#include <vector>

namespace railccl {
namespace {

TEST(SlowCalls, IsDoneWhenTheEndIsAndNotBefore) {
  std::promise<void> let_go;
  std::thread::id done_by;
  SlowCalls calls;
  const auto done = calls.give([&] {
    let_go.get_future().wait();
    done_by = std::this_thread::get_id();
  });
  EXPECT_FALSE(is_done(done)) << "its owner does not wait for it";
  let_go.set_value();
  done.wait();
  EXPECT_TRUE(is_done(done));
  EXPECT_NE(done_by, std::thread::id());
  EXPECT_NE(done_by, std::this_thread::get_id());
}

TEST(SlowCalls, EndsWhenEverythingIsDoneInTheOrderInWhichItWasGiven) {
  std::vector<int> order;
  {
    SlowCalls calls;
    for (const int number : {1, 2, 3}) {
      calls.give([&order, number] { order.push_back(number); });
    }
  }
  EXPECT_THAT(order, testing::ElementsAre(1, 2, 3));
}

TEST(SlowCalls, BringTheirResult) {
  SlowCalls calls;
  EXPECT_EQ(calls.give([number = std::make_unique<int>(7)] { return *number; }).get(), 7);
}

TEST(SlowCalls, OfNothingEnds) { const SlowCalls calls; }

}  // namespace
}  // namespace railccl
