// Data that travels in a measurement, and its check: every element, against what the sender's
// number says it must be.
#pragma once

#include <cstddef>
#include <cstdint>

namespace railccl::perftest::fabric {

// `seed` makes data of different senders and messages differ.
struct DataKey {
  int sender = 0;
  uint64_t seed = 0;
};

// `bytes` is a multiple of 4.
void fill_data(const DataKey& key, std::byte* data, size_t bytes);
// Elements of 4 bytes that are wrong.
uint64_t count_wrong(const DataKey& key, const std::byte* data, size_t bytes);

}  // namespace railccl::perftest::fabric
