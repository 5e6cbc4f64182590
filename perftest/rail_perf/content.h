// What the checked puts carry: bytes that differ by position, slot, size, direction and link, so
// that one in the wrong place is a wrong one. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace railccl::perftest::railperf {

// Slots of `bytes` each, one after another from the beginning of an area.
struct SlotContent {
  uint64_t seed = 0;
  uint64_t bytes = 0;
  uint64_t slots = 0;
};

void fill(std::span<std::byte> area, const SlotContent& content);
// Every byte another than fill() would write.
void fill_wrong(std::span<std::byte> area, const SlotContent& content);

struct Comparison {
  uint64_t wrong = 0;  // bytes
  std::string first_mistake;
};
Comparison compare(std::span<const std::byte> area, const SlotContent& content);

// Memory behind an area, which nobody may write to.
void fill_guard(std::span<std::byte> guard);
Comparison compare_guard(std::span<const std::byte> guard);

}  // namespace railccl::perftest::railperf
