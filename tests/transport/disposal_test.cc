// What is given to a Disposal is done in another thread, in order, and waited for.
#include "transport/disposal.h"

#include <gmock/gmock.h>

#include <vector>

namespace railccl {
namespace {

TEST(Disposal, IsDoneWhenTheEndIsAndNotBefore) {
  std::promise<void> let_go;
  std::thread::id done_by;
  Disposal disposal;
  const auto done = disposal.give(std::packaged_task<void()>([&] {
    let_go.get_future().wait();
    done_by = std::this_thread::get_id();
  }));
  EXPECT_FALSE(is_done(done)) << "its owner does not wait for it";
  let_go.set_value();
  done.wait();
  EXPECT_TRUE(is_done(done));
  EXPECT_NE(done_by, std::thread::id());
  EXPECT_NE(done_by, std::this_thread::get_id());
}

TEST(Disposal, EndsWhenEverythingIsDoneInTheOrderInWhichItWasGiven) {
  std::vector<int> order;
  {
    Disposal disposal;
    for (const int number : {1, 2, 3}) {
      disposal.give(std::packaged_task<void()>([&order, number] { order.push_back(number); }));
    }
  }
  EXPECT_THAT(order, testing::ElementsAre(1, 2, 3));
}

TEST(Disposal, OfNothingEnds) { const Disposal disposal; }

}  // namespace
}  // namespace railccl
