#include "algorithms/buffers.h"

namespace railccl::algorithms {

uint64_t user_blocks(const Shape& shape, int rank, BufferId buffer) {
  const bool input = buffer == BufferId::kInput;
  const bool root = rank == shape.root;
  const auto ranks = static_cast<uint64_t>(shape.layout->ranks());
  switch (shape.collective) {
    case Collective::kAllReduce:
      return 1;
    case Collective::kBroadcast:
      return input && !root ? 0 : 1;
    case Collective::kReduce:
      return !input && !root ? 0 : 1;
    case Collective::kAllGather:
      return input ? 1 : ranks;
    case Collective::kReduceScatter:
      return input ? ranks : 1;
    case Collective::kAllToAll:
      return ranks;
    case Collective::kGather:
      return input ? 1 : (root ? ranks : 0);
    case Collective::kScatter:
      return input ? (root ? ranks : 0) : 1;
    case Collective::kSendRecv:
      return 0;
  }
  return 0;
}

Slice canonical(const Shape& shape, int rank, Slice slice) {
  if (!shape.in_place || slice.buffer == BufferId::kScratch) return slice;
  const uint64_t inputs = user_blocks(shape, rank, BufferId::kInput);
  const uint64_t outputs = user_blocks(shape, rank, BufferId::kOutput);
  if (inputs == 0 || outputs == 0) return slice;
  const BufferId larger = inputs > outputs ? BufferId::kInput : BufferId::kOutput;
  if (slice.buffer == larger) return slice;
  slice.buffer = larger;
  if (inputs != outputs) slice.offset += static_cast<uint64_t>(rank) * shape.block;
  return slice;
}

}  // namespace railccl::algorithms
