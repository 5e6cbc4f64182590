#include "perftest/fabric_check/data.h"

#include <algorithm>
#include <array>

#include "perftest/common/pattern.h"

namespace railccl::perftest::fabric {
namespace {

Pattern pattern_of(const DataKey& key) {
  return Pattern({.type = ncclUint32, .op = {}, .seed = key.seed, .ranks = key.sender + 1});
}

}  // namespace

void fill_data(const DataKey& key, std::byte* data, size_t bytes) {
  pattern_of(key).input(key.sender, 0, bytes / 4, data);
}

uint64_t count_wrong(const DataKey& key, const std::byte* data, size_t bytes) {
  const Pattern pattern = pattern_of(key);
  std::array<uint32_t, 4096> expected;
  uint64_t wrong = 0;
  const uint64_t count = bytes / 4;
  for (uint64_t begin = 0; begin < count; begin += expected.size()) {
    const uint64_t part = std::min<uint64_t>(expected.size(), count - begin);
    pattern.input(key.sender, begin, part, expected.data());
    const std::byte* actual = data + begin * 4;
    for (uint64_t i = 0; i < part; ++i) {
      uint32_t value = 0;
      std::copy_n(actual + i * 4, 4, reinterpret_cast<std::byte*>(&value));
      if (value != expected[i]) ++wrong;
    }
  }
  return wrong;
}

}  // namespace railccl::perftest::fabric
