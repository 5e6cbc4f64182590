// Which GID a port uses.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/verbs/gid_selection.h"

namespace railccl::verbs {
namespace {

using testing::HasSubstr;

GidEntry entry(uint32_t index, const char* ipv6, GidType type) {
  GidEntry made{.index = index, .type = type};
  EXPECT_EQ(inet_pton(AF_INET6, ipv6, made.gid.data()), 1) << ipv6;
  return made;
}

// As a RoCE port has them: every address once for each version.
const std::vector<GidEntry> kGids = {
    entry(0, "fe80::1", GidType::kRoceV1),         entry(1, "fe80::1", GidType::kRoceV2),
    entry(2, "::ffff:10.1.0.1", GidType::kRoceV1), entry(3, "::ffff:10.1.0.1", GidType::kRoceV2),
    entry(4, "2001:db8::7", GidType::kRoceV2),     entry(5, "::ffff:10.2.0.1", GidType::kRoceV2)};

uint32_t index_of(const GidWish& wish) {
  const auto gid = choose_gid(kGids, wish);
  if (gid) return gid->index;
  ADD_FAILURE() << gid.error().message();
  return ~0U;
}

std::string refusal(std::span<const GidEntry> entries, const GidWish& wish) {
  const auto gid = choose_gid(entries, wish);
  EXPECT_FALSE(gid);
  if (gid) return "";
  EXPECT_EQ(gid.error().code(), Code::kInvalidArgument);
  return std::string(gid.error().message());
}

TEST(VerbsGid, TextIsThatOfTheAddress) {
  EXPECT_EQ(gid_text(kGids[2].gid), "10.1.0.1");
  EXPECT_EQ(gid_text(kGids[4].gid), "2001:db8::7");
}

TEST(VerbsGid, RoceVersionThenFamilyThenScopeThenIndex) {
  EXPECT_EQ(index_of({.ethernet = true}), 3U);
  EXPECT_EQ(index_of({.roce_version = 1, .ethernet = true}), 2U);
  EXPECT_EQ(index_of({.ipv6 = true, .ethernet = true}), 4U);
  EXPECT_EQ(index_of({.ipv6 = true, .roce_version = 1, .ethernet = true}), 0U);
}

TEST(VerbsGid, TheRangeBindsAndThePreferencesOrderWithinIt) {
  EXPECT_EQ(index_of({.range = "10.2.0.0/16", .ethernet = true}), 5U);
  EXPECT_EQ(index_of({.range = "10.0.0.0/14", .ethernet = true}), 3U);
  EXPECT_EQ(index_of({.range = "2001:db8::/32", .ethernet = true}), 4U);
  EXPECT_EQ(index_of({.ipv6 = true, .range = "0.0.0.0/0", .ethernet = true}), 3U);
  EXPECT_THAT(refusal(kGids, {.range = "192.168.0.0/16", .ethernet = true}),
              HasSubstr("192.168.0.0/16"));
}

TEST(VerbsGid, WhatIsNoNetworkIsRefused) {
  for (const char* range : {"10.1", "10.1.0.0/33", "10.1.0.0/", "10.1.0.0/x", "::/129", "eth0"}) {
    EXPECT_THAT(refusal(kGids, {.range = range, .ethernet = true}), HasSubstr("network")) << range;
  }
}

TEST(VerbsGid, AnIndexIsTakenAsItIs) {
  EXPECT_EQ(index_of({.index = 0, .ethernet = true}), 0U);
  EXPECT_THAT(refusal(kGids, {.index = 9, .ethernet = true}), HasSubstr("9"));
}

TEST(VerbsGid, AnIndexThatNoPathCanNameIsNeverUsed) {
  const std::vector<GidEntry> far = {entry(0, "fe80::1", GidType::kRoceV1),
                                     entry(256, "::ffff:10.1.0.1", GidType::kRoceV2)};
  EXPECT_THAT(refusal(far, {.index = 256, .ethernet = true}), HasSubstr("255"));
  const auto gid = choose_gid(far, {.ethernet = true});
  ASSERT_TRUE(gid) << gid.error().message();
  EXPECT_EQ(gid->index, 0U);
}

TEST(VerbsGid, InfinibandTakesTheFirst) {
  const std::vector<GidEntry> gids = {entry(0, "fe80::2:c903:1", GidType::kInfiniband),
                                      entry(1, "fec0::2:c903:1", GidType::kInfiniband)};
  const auto gid = choose_gid(gids, {.range = "10.0.0.0/8"});
  ASSERT_TRUE(gid) << gid.error().message();
  EXPECT_EQ(gid->index, 0U);
  EXPECT_THAT(refusal({}, {}), HasSubstr("none"));
}

}  // namespace
}  // namespace railccl::verbs
