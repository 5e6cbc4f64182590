// The slots of a UCX endpoint's puts: what is done when, and what is still there.
#include <gmock/gmock.h>

#include "transport/ucx/outgoing_puts.h"

namespace railccl::ucx {
namespace {

TEST(OutgoingPuts, IsDoneWhenItIsSentAndPlacedInAnyOrder) {
  OutgoingPuts puts({.puts = 2, .bytes = 100});
  const uint32_t first = puts.push({.bytes = 10}, 71).header.sequence;
  const uint32_t second = puts.push({.bytes = 10}, 72).header.sequence;
  EXPECT_NE(first, second);
  EXPECT_FALSE(puts.mark_sent(first));
  EXPECT_FALSE(puts.mark_placed(second));
  const auto done_first = puts.mark_placed(first);
  ASSERT_TRUE(done_first);
  EXPECT_EQ(done_first->token, 71U);
  const auto done_second = puts.mark_sent(second);
  ASSERT_TRUE(done_second);
  EXPECT_EQ(done_second->token, 72U);
  EXPECT_TRUE(puts.empty());
}

TEST(OutgoingPuts, IsBoundedByPutsAndByBytes) {
  OutgoingPuts puts({.puts = 2, .bytes = 100});
  EXPECT_TRUE(puts.accepts(1000)) << "an empty queue takes any put";
  puts.push({.bytes = 60}, 1);
  EXPECT_FALSE(puts.accepts(41));
  EXPECT_TRUE(puts.accepts(40));
  puts.push({.bytes = 0}, 2);
  EXPECT_FALSE(puts.accepts(0));
}

TEST(OutgoingPuts, AForgottenPutIsNotThereAndItsSlotIsFree) {
  OutgoingPuts puts({.puts = 1, .bytes = 100});
  const uint32_t slot = puts.push({.bytes = 60}, 1).header.sequence;
  EXPECT_TRUE(puts.is_used(slot));
  puts.forget(slot);
  EXPECT_FALSE(puts.is_used(slot));
  EXPECT_TRUE(puts.accepts(60));
  EXPECT_TRUE(puts.all().empty());
}

TEST(OutgoingPuts, TheRestIsWhatHasNotBeenTaken) {
  OutgoingPuts puts({.puts = 3, .bytes = 100});
  for (const uint64_t token : {1, 2, 3}) puts.push({.bytes = 1}, token);
  puts.mark_sent(0);
  puts.mark_placed(0);
  std::vector<uint64_t> tokens;
  for (const OutgoingPut& put : puts.all()) tokens.push_back(put.token);
  EXPECT_THAT(tokens, testing::UnorderedElementsAre(2, 3));
  EXPECT_FALSE(puts.is_used(3)) << "beyond the slots";
}

}  // namespace
}  // namespace railccl::ucx
