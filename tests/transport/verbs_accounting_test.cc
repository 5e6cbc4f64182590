// The send window and the credits of a queue pair, and the identity of work requests and keys.
#include <gtest/gtest.h>

#include <deque>
#include <limits>
#include <random>

#include "transport/verbs/queue_pair.h"
#include "transport/verbs/verbs_registration.h"
#include "transport/verbs/work_accounting.h"

namespace railccl::verbs {
namespace {

TEST(VerbsWindow, KeepsTheOrderOfWhatIsInFlight) {
  SendWindow window(8);
  std::deque<uint64_t> expected;
  std::mt19937 random(7);
  uint64_t token = 0;
  for (int round = 0; round < 10000; ++round) {
    if (random() % 2 == 0 && expected.size() < 8) {
      window.push({.kind = WorkKind::kPut, .token = token});
      expected.push_back(token++);
      EXPECT_EQ(window.back().token, expected.back());
    } else if (!expected.empty()) {
      EXPECT_EQ(window.front().token, expected.front());
      EXPECT_EQ(window.first(), static_cast<uint32_t>(expected.front()));
      window.pop();
      expected.pop_front();
    }
    ASSERT_EQ(window.in_flight(), expected.size());
    ASSERT_EQ(window.free(), 8 - expected.size());
  }
  EXPECT_GT(token, 1000U);
}

TEST(VerbsWindow, ContainsExactlyWhatIsInFlight) {
  SendWindow window(4);
  EXPECT_FALSE(window.contains(0));
  for (int i = 0; i < 3; ++i) window.push({});
  window.pop();
  EXPECT_FALSE(window.contains(0));
  EXPECT_TRUE(window.contains(1));
  EXPECT_TRUE(window.contains(2));
  EXPECT_FALSE(window.contains(3));
  EXPECT_FALSE(window.contains(std::numeric_limits<uint32_t>::max()));
}

TEST(VerbsCredits, PutsLeaveSomeForControlMessages) {
  Credits credits;
  credits.start(8);
  int puts = 0;
  for (; credits.for_put(); ++puts) credits.use();
  EXPECT_EQ(puts, 4);
  EXPECT_EQ(credits.available(), kReservedCredits);
}

TEST(VerbsCredits, WhatIsReturnedCanBeUsedAgain) {
  Credits credits;
  credits.start(6);
  for (int i = 0; i < 6; ++i) credits.use();
  EXPECT_EQ(credits.available(), 0U);
  EXPECT_TRUE(credits.on_returned(4));
  EXPECT_EQ(credits.available(), 4U);
  EXPECT_TRUE(credits.on_returned(4));  // said again by every message
  EXPECT_EQ(credits.available(), 4U);
}

TEST(VerbsCredits, MoreThanWasUsedOrLessThanWasSaidIsRefused) {
  Credits credits;
  credits.start(6);
  credits.use();
  credits.use();
  EXPECT_FALSE(credits.on_returned(3));
  EXPECT_TRUE(credits.on_returned(2));
  EXPECT_FALSE(credits.on_returned(1));
  EXPECT_EQ(credits.available(), 6U);
}

TEST(VerbsWorkId, SaysWhoseItIs) {
  const WorkId id{
      .endpoint = (1U << 24) - 1, .queue_pair = 31, .receive = true, .sequence = 0xfffffffe};
  const WorkId again = decode_work_id(encode(id));
  EXPECT_EQ(again.endpoint, id.endpoint);
  EXPECT_EQ(again.queue_pair, id.queue_pair);
  EXPECT_TRUE(again.receive);
  EXPECT_EQ(again.sequence, id.sequence);
  EXPECT_FALSE(decode_work_id(encode(WorkId{.endpoint = 3, .sequence = 1})).receive);
}

TEST(VerbsKey, IsNeverZeroAndComesBack) {
  EXPECT_NE(encode(RemoteKey{}), 0U);
  const RemoteKey key{.rkey = 0xfedcba98, .first_address = 65535};
  EXPECT_EQ(decode_remote_key(encode(key)).rkey, key.rkey);
  EXPECT_EQ(decode_remote_key(encode(key)).first_address, key.first_address);
  EXPECT_FALSE(decode_remote_key(encode(key)).host);
  EXPECT_TRUE(decode_remote_key(encode(RemoteKey{.first_address = 65535, .host = true})).host);
}

}  // namespace
}  // namespace railccl::verbs
