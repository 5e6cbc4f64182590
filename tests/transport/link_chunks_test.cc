// How long chunks are on rails that pass only short ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "tests/transport/forwarding_rail.h"
#include "tests/transport/link_world.h"

namespace railccl::testing_support {
namespace {

// What a rail is asked to put; what it refuses never gets through: its endpoint fails.
struct Puts {
  std::function<bool(const Put&)> refuses;
  uint64_t longest = 0;
};

class ChoosyEndpoint final : public ForwardingEndpoint {
 public:
  ChoosyEndpoint(std::unique_ptr<Endpoint> inner, Puts& puts)
      : ForwardingEndpoint(std::move(inner)), puts_(puts) {}
  Status put(const Put& put) override {
    puts_.longest = std::max<uint64_t>(puts_.longest, put.bytes);
    Put changed = put;
    if (puts_.refuses(put)) changed.remote_key += 1;  // nothing is registered with it
    return ForwardingEndpoint::put(changed);
  }

 private:
  Puts& puts_;
};

// Of rank 0, by rail.
LinkWorldOptions choosy_world(size_t rails, std::vector<Puts>& puts) {
  LinkWorldOptions options = quick_world(22, rails);
  options.link.chunk_bytes = 256 << 10;
  options.decorate = [&puts](int rank, int rail,
                             std::unique_ptr<Rail> inner) -> std::unique_ptr<Rail> {
    if (rank != 0) return inner;
    using ChoosyRail = RailOfEndpoints<ChoosyEndpoint, Puts>;
    return std::make_unique<ChoosyRail>(std::move(inner), puts[static_cast<size_t>(rail)]);
  };
  return options;
}

// Puts so much and waits until it is there.
void put_and_compare(LinkWorld& world, uint64_t token, uint64_t bytes) {
  auto source = world.make_buffer(0, bytes);
  auto target = world.make_buffer(1, bytes);
  fill(*source, token);
  const LinkPut put{
      .token = token, .source = &source->registered, .bytes = bytes, .target = &target->remote};
  ASSERT_TRUE(world.link(0).put(put, world.now()).is_ok());
  ASSERT_TRUE(
      world.run_until([&] { return world.side(0).done[token] == 1; }, world.now() + 20 * kSecond))
      << world.describe();
  EXPECT_EQ(target->bytes, source->bytes);
}

bool is_long(const Put& put) { return put.bytes > 70'000; }
bool nothing(const Put& /*put*/) { return false; }

TEST(LinkChunks, WhatNeverPassesWholePassesInParts) {
  for (const size_t rails : {1U, 2U}) {
    std::vector<Puts> puts(rails, Puts{.refuses = is_long});
    LinkWorld world(choosy_world(rails, puts));
    world.connect();
    put_and_compare(world, 1, 1 << 20);
    EXPECT_EQ(world.side(0).failed + world.side(1).failed, 0);
    EXPECT_GT(world.failures(0), 0u);
    world.close_both();
  }
}

TEST(LinkChunks, ARailThatPassesLongChunksGetsThemWhateverItsSiblingLoses) {
  std::vector<Puts> puts = {{.refuses = is_long}, {.refuses = nothing}};
  LinkWorld world(choosy_world(2, puts));
  world.connect();
  put_and_compare(world, 1, 4 << 20);
  ASSERT_GT(world.failures(0), 0u);
  puts[1].longest = 0;
  put_and_compare(world, 2, 4 << 20);
  EXPECT_EQ(puts[1].longest, 256u << 10);
  world.close_both();
}

TEST(LinkChunks, ALostShortPutSaysNothingOfLongOnes) {
  std::vector<Puts> puts(1);
  puts[0].refuses = [](const Put& put) { return put.bytes == 8; };
  LinkWorld world(choosy_world(1, puts));
  world.connect();
  auto source = world.make_buffer(0, 8);
  auto target = world.make_buffer(1, 8);
  const LinkPut put{
      .token = 1, .source = &source->registered, .bytes = 8, .target = &target->remote};
  ASSERT_TRUE(world.link(0).put(put, world.now()).is_ok());
  ASSERT_TRUE(world.run_until([&] { return world.failures(0) > 0; }, kSecond));
  puts[0].refuses = nothing;
  ASSERT_TRUE(world.run_until([&] { return world.side(0).done[1] == 1; }, 20 * kSecond))
      << world.describe();
  puts[0].longest = 0;
  put_and_compare(world, 2, 4 << 20);
  EXPECT_EQ(puts[0].longest, 256u << 10);
  world.close_both();
}

}  // namespace
}  // namespace railccl::testing_support
