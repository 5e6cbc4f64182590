// How a call on memory of a GPU goes through pinned host memory: in segments, each of which is a
// call of its own on a slot of that memory. Pure; the same cuts on all ranks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "src/compute/device.h"
#include "src/core/call.h"

namespace railccl {

// Both sides' address of a piece of pinned memory.
struct PinnedSlot {
  std::byte* host = nullptr;
  std::byte* device = nullptr;
};

// Bytes that a slot must have, so that the widest collective fits; `wanted` where that is more.
uint64_t staging_slot_bytes(uint64_t wanted, int ranks);

// Elements of each block that a segment has, but for the last one.
uint64_t segment_elements(const Call& call, int ranks, uint64_t slot_bytes);

struct StagedSegment {
  Call call;      // on host memory
  BlockCopy in;   // before it; no blocks: nothing to copy
  BlockCopy out;  // after it
};
// `first`: element of each block at which it begins.
StagedSegment stage_segment(const Call& call, int rank, int ranks, uint64_t first, uint64_t count,
                            const PinnedSlot& slot);

}  // namespace railccl
