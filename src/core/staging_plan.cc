#include "src/core/staging_plan.h"

#include <algorithm>

namespace railccl {
namespace {

constexpr uint64_t kSegmentAlignment = 128;  // of blocks in a slot; several times a GPU's load

// Blocks that the call has on the rank that has most of them; input and output share their place
// where one is part of the other.
uint64_t blocks_in_slot(Collective collective, int ranks) {
  const auto n = static_cast<uint64_t>(ranks);
  switch (collective) {
    case Collective::kAllToAll:
      return 2 * n;
    case Collective::kAllGather:
    case Collective::kReduceScatter:
    case Collective::kGather:
    case Collective::kScatter:
      return n;
    default:
      return 1;
  }
}

}  // namespace

uint64_t staging_slot_bytes(uint64_t wanted, int ranks) {
  return std::max(wanted, 2 * static_cast<uint64_t>(ranks) * kSegmentAlignment);
}

uint64_t segment_elements(const Call& call, int ranks, uint64_t slot_bytes) {
  const uint64_t bytes = slot_bytes / blocks_in_slot(call.collective, ranks);
  return bytes / kSegmentAlignment * kSegmentAlignment / call.element();
}

StagedSegment stage_segment(const Call& call, int rank, int ranks, uint64_t first, uint64_t count,
                            const PinnedSlot& slot) {
  const uint64_t element = call.element();
  const uint64_t whole = call.count * element;
  const uint64_t bytes = count * element;
  const uint64_t in_blocks = input_bytes(call, rank, ranks) / whole;
  const uint64_t out_blocks = output_bytes(call, rank, ranks) / whole;
  // The place of the narrower one within the wider one.
  const uint64_t own = static_cast<uint64_t>(rank) * bytes;
  uint64_t in_offset = in_blocks == 1 && out_blocks > 1 ? own : 0;
  uint64_t out_offset = out_blocks == 1 && in_blocks > 1 ? own : 0;
  if (call.collective == Collective::kAllToAll) out_offset = in_blocks * bytes;
  StagedSegment segment{.call = call, .in = {}, .out = {}};
  segment.call.count = count;
  segment.call.more = first + count < call.count;
  segment.call.input = in_blocks > 0 ? slot.host + in_offset : nullptr;
  segment.call.output = out_blocks > 0 ? slot.host + out_offset : nullptr;
  segment.in = {.dst = slot.device + in_offset,
                .src = in_blocks > 0 ? call.input + first * element : nullptr,
                .bytes = bytes,
                .blocks = in_blocks,
                .dst_stride = bytes,
                .src_stride = whole};
  // The root of a broadcast in place has the result already.
  const bool there =
      call.collective == Collective::kBroadcast && call.input == call.output && rank == call.root;
  segment.out = {.dst = out_blocks > 0 ? call.output + first * element : nullptr,
                 .src = slot.device + out_offset,
                 .bytes = bytes,
                 .blocks = there ? 0 : out_blocks,
                 .dst_stride = whole,
                 .src_stride = bytes};
  return segment;
}

}  // namespace railccl
