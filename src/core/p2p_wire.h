// Notification tags and slot headers of point-to-point transfers, shared by both sides. Pure
// layout.
#pragma once

#include <cstdint>

#include "src/core/call.h"
#include "src/core/local_domain.h"

namespace railccl {

// | 63: 1 | 62..32 kind | 31..0 number |
enum class P2pTag : uint64_t { kData = 0, kSlotFilled = 1, kSlotFreed = 2 };
constexpr uint64_t p2p_tag(P2pTag kind, uint32_t number) {
  return uint64_t{1} << 63 | static_cast<uint64_t>(kind) << 32 | number;
}

// At the start of a slot; then, unless it is read straight from the sender's buffer, the bytes.
struct P2pSlotHeader {
  uint32_t sequence = 0;
  uint32_t read_source = 0;  // 1: the receiver reads `source`
  Fingerprint fingerprint;
  uint64_t bytes = 0;  // in this slot, or in the whole transfer when read_source
  BufferHandle source;
};
static_assert(sizeof(P2pSlotHeader) <= 128);
constexpr uint64_t kP2pHeaderBytes = 128;

}  // namespace railccl
