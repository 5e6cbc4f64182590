// What is disposed of ends in another thread, and is waited for.
#include "transport/disposal.h"

#include <gmock/gmock.h>

#include <memory>
#include <thread>

namespace railccl {
namespace {

// Its end waits until it is let go.
struct Held {
  std::shared_future<void> let_go;
  std::thread::id* ended_in = nullptr;
  ~Held() {
    let_go.wait();
    *ended_in = std::this_thread::get_id();
  }
};

TEST(Disposal, IsDoneWhenTheEndIsAndNotBefore) {
  std::promise<void> let_go;
  std::thread::id ended_in;
  Disposal disposal(std::unique_ptr<Held>(
      new Held{.let_go = let_go.get_future().share(), .ended_in = &ended_in}));
  EXPECT_FALSE(disposal.is_done()) << "its owner does not wait for it";
  let_go.set_value();
  disposal.wait();
  EXPECT_TRUE(disposal.is_done());
  EXPECT_NE(ended_in, std::thread::id());
  EXPECT_NE(ended_in, std::this_thread::get_id());
}

TEST(Disposal, OfNothingIsDone) {
  const Disposal disposal;
  disposal.wait();
  EXPECT_TRUE(disposal.is_done());
}

}  // namespace
}  // namespace railccl
