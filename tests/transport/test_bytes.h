// What tests put into memory and how they look at it again: one value everywhere, or bytes that are
// different at every place. In words and blocks: without optimisation a loop over bytes takes
// nearly all the time of the tests that look at much of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace railccl::testing_support {

inline bool all_equal(std::span<const std::byte> bytes, uint8_t value) {
  return bytes.empty() || (bytes[0] == std::byte{value} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// splitmix64 (Vigna): the eight bytes of the pattern at 8 * index.
inline uint64_t pattern_word(uint64_t seed, uint64_t index) {
  uint64_t value = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

// bytes[i] depends on seed and i in a way that shifted or mixed data does not repeat.
inline void fill_pattern(std::span<std::byte> bytes, uint64_t seed) {
  for (size_t i = 0; i < bytes.size(); i += sizeof(uint64_t)) {
    const uint64_t word = pattern_word(seed, i / sizeof(uint64_t));
    std::memcpy(&bytes[i], &word, std::min(sizeof(word), bytes.size() - i));
  }
}

inline bool has_pattern(std::span<const std::byte> bytes, uint64_t seed) {
  for (size_t i = 0; i < bytes.size(); i += sizeof(uint64_t)) {
    const uint64_t word = pattern_word(seed, i / sizeof(uint64_t));
    if (std::memcmp(&bytes[i], &word, std::min(sizeof(word), bytes.size() - i)) != 0) return false;
  }
  return true;
}

}  // namespace railccl::testing_support
