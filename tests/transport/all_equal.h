// Whether memory holds one value everywhere, compared as a block: without optimisation a loop over
// bytes takes nearly all the time of the tests that look at much of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace railccl::testing_support {

inline bool all_equal(std::span<const std::byte> bytes, uint8_t value) {
  return bytes.empty() || (bytes[0] == std::byte{value} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace railccl::testing_support
