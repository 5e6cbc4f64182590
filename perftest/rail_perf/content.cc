#include "perftest/rail_perf/content.h"

#include <fmt/format.h>

#include <algorithm>

namespace railccl::perftest::railperf {
namespace {

constexpr std::byte kGuard{0x5a};

// splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

// Calls visit(position in the area, slot, expected byte) for every byte.
template <typename Visit>
void for_each_byte(const SlotContent& content, const Visit& visit) {
  for (uint64_t slot = 0; slot < content.slots; ++slot) {
    const uint64_t seed = mix(content.seed ^ mix(slot));
    uint64_t word = 0;
    for (uint64_t i = 0; i < content.bytes; ++i) {
      if (i % 8 == 0) word = mix(seed + i);
      visit(slot * content.bytes + i, slot, static_cast<std::byte>(word >> i % 8 * 8));
    }
  }
}

}  // namespace

void fill(std::span<std::byte> area, const SlotContent& content) {
  for_each_byte(content, [&](uint64_t at, uint64_t, std::byte expected) { area[at] = expected; });
}

void fill_wrong(std::span<std::byte> area, const SlotContent& content) {
  for_each_byte(content, [&](uint64_t at, uint64_t, std::byte expected) { area[at] = ~expected; });
}

Comparison compare(std::span<const std::byte> area, const SlotContent& content) {
  Comparison result;
  for_each_byte(content, [&](uint64_t at, uint64_t slot, std::byte expected) {
    if (area[at] == expected) return;
    if (result.wrong++ > 0) return;
    result.first_mistake =
        fmt::format("put {} of {} bytes, byte {}: {:#04x}, not {:#04x}", slot, content.bytes,
                    at % content.bytes, static_cast<int>(area[at]), static_cast<int>(expected));
  });
  return result;
}

void fill_guard(std::span<std::byte> guard) { std::ranges::fill(guard, kGuard); }

Comparison compare_guard(std::span<const std::byte> guard) {
  Comparison result;
  for (size_t i = 0; i < guard.size(); ++i) {
    if (guard[i] == kGuard) continue;
    if (result.wrong++ == 0) {
      result.first_mistake = fmt::format("byte {} behind the memory that is put to", i);
    }
  }
  return result;
}

}  // namespace railccl::perftest::railperf
