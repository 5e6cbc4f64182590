#include "transport/checksum.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace railccl {
namespace {

constexpr size_t kMostAtOnce = size_t{1} << 30;  // ISA-L counts in int

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes) {
  uint32_t state = ~uint32_t{0};
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), kMostAtOnce));
    // ISA-L only reads.
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(part.data()));
    state = crc32_iscsi(data, static_cast<int>(part.size()), state);
    bytes = bytes.subspan(part.size());
  }
  return ~state;
}

}  // namespace railccl
