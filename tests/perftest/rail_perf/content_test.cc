#include "perftest/rail_perf/content.h"

#include <gmock/gmock.h>

#include <vector>

namespace railccl::perftest::railperf {
namespace {

constexpr SlotContent kContent = {.seed = 5, .bytes = 13, .slots = 4};

std::vector<std::byte> filled(const SlotContent& content) {
  std::vector<std::byte> area(content.bytes * content.slots + 3, std::byte{0x77});
  fill(area, content);
  return area;
}

TEST(Content, WhatWasFilledCompares) {
  const auto area = filled(kContent);
  EXPECT_EQ(compare(area, kContent).wrong, 0u);
  EXPECT_EQ(area.back(), std::byte{0x77});  // nothing behind the slots
}

TEST(Content, EveryByteIsWrongBeforeItComes) {
  auto area = filled(kContent);
  fill_wrong(area, kContent);
  EXPECT_EQ(compare(area, kContent).wrong, kContent.bytes * kContent.slots);
}

TEST(Content, AWrongByteIsCountedAndNamed) {
  auto area = filled(kContent);
  area[2 * 13 + 7] ^= std::byte{1};
  area[3 * 13] ^= std::byte{1};
  const Comparison found = compare(area, kContent);
  EXPECT_EQ(found.wrong, 2u);
  EXPECT_THAT(found.first_mistake, testing::HasSubstr("put 2 of 13 bytes, byte 7"));
}

TEST(Content, AnotherSlotSizeOrSeedIsAnotherContent) {
  auto area = filled(kContent);
  std::swap_ranges(area.begin(), area.begin() + 13, area.begin() + 13);
  EXPECT_GT(compare(area, kContent).wrong, 13u);
  EXPECT_GT(compare(filled({.seed = 6, .bytes = 13, .slots = 4}), kContent).wrong, 26u);
}

TEST(Content, TheGuardIsNoticed) {
  std::vector<std::byte> guard(64);
  fill_guard(guard);
  EXPECT_EQ(compare_guard(guard).wrong, 0u);
  guard[9] = std::byte{0};
  EXPECT_EQ(compare_guard(guard).wrong, 1u);
  EXPECT_THAT(compare_guard(guard).first_mistake, testing::HasSubstr("byte 9"));
}

}  // namespace
}  // namespace railccl::perftest::railperf
