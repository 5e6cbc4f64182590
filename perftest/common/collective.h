// What a *_perf program knows about its collective: sizes, bandwidth factor, the call, and which
// input each output element must come from. One value per file in perftest/collectives. Pure, but
// for `run`, which any rank's thread may call.
#pragma once

#include <railccl/nccl.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace railccl::perftest {

// Buffer sizes of one rank, and where the buffers lie in each other in the in-place form. Elements;
// the offsets are those of rank 0's neighbour: rank r uses r times the offset.
struct Layout {
  uint64_t send_count = 0;
  uint64_t recv_count = 0;
  uint64_t call_count = 0;  // the `count` argument of the call
  uint64_t send_in_place_offset = 0;
  uint64_t recv_in_place_offset = 0;
};

struct Shape {
  uint64_t count = 0;  // elements that fit into the size asked for
  size_t element_bytes = 1;
  int ranks = 1;
};

// Part of a rank's output and what must be there: the reduction of all ranks' inputs, one rank's
// input, or what was there before.
struct Expected {
  enum class From { kReduction, kRank, kUntouched };
  From from = From::kUntouched;
  int rank = 0;              // kRank
  uint64_t input_begin = 0;  // first element in the input(s)
  uint64_t count = 0;        // parts follow each other and fill the output
};

struct Position {
  int rank = 0;
  int ranks = 1;
  int root = 0;
};

struct CollectiveCall {
  const void* send = nullptr;
  void* recv = nullptr;
  uint64_t count = 0;  // Layout::call_count
  ncclDataType_t type = ncclFloat;
  ncclRedOp_t op = ncclSum;
  Position position;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
};

struct Collective {
  std::string_view program;      // "all_reduce_perf"
  bool reduces = false;          // -o counts
  bool rooted = false;           // -r counts
  bool in_place_defined = true;  // false: in place is timed with two buffers and not checked
  bool moves_total = false;      // algbw counts the bytes of all ranks, not of one
  Layout (*layout)(const Shape& shape) = nullptr;
  double (*bus_factor)(int ranks) = nullptr;  // busbw over algbw
  std::vector<Expected> (*expected)(const Layout& layout, const Position& position) = nullptr;
  ncclResult_t (*run)(const CollectiveCall& call) = nullptr;
};

// Elements of one of `ranks` equal blocks, a multiple of 16 bytes, as nccl-tests rounds.
constexpr uint64_t block_count(const Shape& shape) {
  const uint64_t multiple = 16 / shape.element_bytes;
  return shape.count / static_cast<uint64_t>(shape.ranks) / multiple * multiple;
}

struct Bandwidth {
  double algorithm = 0;  // 1e9 bytes per second
  double bus = 0;
};
Bandwidth bandwidth(const Collective& collective, uint64_t call_bytes, int ranks, double seconds);

// The nine.
const Collective& all_reduce();
const Collective& all_gather();
const Collective& broadcast();
const Collective& reduce();
const Collective& reduce_scatter();
const Collective& alltoall();
const Collective& gather();
const Collective& scatter();
const Collective& sendrecv();

}  // namespace railccl::perftest
