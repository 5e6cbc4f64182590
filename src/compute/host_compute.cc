// Compute on host memory: chooses kernels, and cuts work that needs a second step (integer
// division, streaming stores) into blocks that stay in the first-level cache.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "src/compute/compute.h"
#include "src/compute/float_environment.h"
#include "src/compute/integer_divide.h"
#include "src/compute/kernels.h"

namespace railccl {
namespace {

using compute::Combine;
using compute::kLineBytes;

constexpr size_t kBlockBytes = 1024;

uint8_t* bytes_of(std::byte* p) { return reinterpret_cast<uint8_t*>(p); }
const uint8_t* bytes_of(const std::byte* p) { return reinterpret_cast<const uint8_t*>(p); }
uint8_t* const* bytes_of(std::byte* const* p) { return reinterpret_cast<uint8_t* const*>(p); }
const uint8_t* const* bytes_of(const std::byte* const* p) {
  return reinterpret_cast<const uint8_t* const*>(p);
}

Combine combine_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
    case ReduceOp::kPreMulSum:
      return Combine::kSum;
    case ReduceOp::kProd:
      return Combine::kProd;
    case ReduceOp::kMax:
      return Combine::kMax;
    case ReduceOp::kMin:
      return Combine::kMin;
  }
  return Combine::kSum;
}

compute::ReduceKernel reduce_kernel(DataType type, Combine combine) {
  if (compute::is_integer(type)) return compute::integer_kernel(type, combine);
  if (combine == Combine::kMax || combine == Combine::kMin) {
    return compute::float_order_kernel(type, combine);
  }
  const auto kernel = compute::float_kernel(type, combine);
  return kernel != nullptr ? kernel : compute::small_float_kernel(type, combine);
}

compute::ScaleKernel scale_kernel(DataType type) {
  if (compute::is_integer(type)) return compute::integer_scale_kernel(type);
  const auto kernel = compute::float_scale_kernel(type);
  return kernel != nullptr ? kernel : compute::small_float_scale_kernel(type);
}

size_t misalignment(const void* p) { return reinterpret_cast<uintptr_t>(p) % kLineBytes; }

// Whether some number of elements brings every destination to the beginning of a line.
bool share_alignment(const ReduceWork& work) {
  const size_t first = misalignment(work.dsts[0]);
  return first % element_bytes(work.type) == 0 &&
         std::all_of(work.dsts.begin(), work.dsts.end(),
                     [&](const std::byte* dst) { return misalignment(dst) == first; });
}

// Streams from registers: loads and stores alternate in small steps, which measured up to a third
// faster than streaming from a finished block.
void reduce_streaming(const ReduceWork& work, compute::ReduceKernel kernel,
                      compute::ReduceArgs args) {
  const size_t element = element_bytes(work.type);
  const size_t to_line = (kLineBytes - misalignment(work.dsts[0])) % kLineBytes;
  args.count = std::min(work.count, to_line / element);
  kernel(args);
  args.src_offset = args.dst_offset = args.count * element;
  args.count = work.count - args.count;
  args.streaming = true;
  kernel(args);
  compute::stream_fence();
}

void put_block(const ReduceWork& work, const uint8_t* block, size_t at, size_t bytes) {
  for (std::byte* dst : work.dsts) {
    if (work.streaming) {
      compute::stream_copy(bytes_of(dst) + at, block, bytes);
    } else {
      std::memcpy(dst + at, block, bytes);
    }
  }
}

// Each block is reduced into a buffer, finished there, and stored to every destination.
void reduce_in_blocks(const ReduceWork& work, compute::ReduceKernel kernel,
                      compute::ReduceArgs args) {
  alignas(kLineBytes) std::array<uint8_t, kBlockBytes> block;
  uint8_t* const block_dst = block.data();
  const size_t element = element_bytes(work.type);
  const size_t total = work.count * element;
  const bool divide = work.divide_by > 1 && compute::is_integer(work.type);
  args.dsts = &block_dst;
  args.dst_count = 1;
  // Further blocks begin at a line of the first destination.
  size_t limit = (kBlockBytes - misalignment(work.dsts[0])) / element * element;
  for (size_t at = 0; at < total;) {
    const size_t bytes = std::min(limit, total - at);
    args.src_offset = at;
    args.count = bytes / element;
    kernel(args);
    if (divide) compute::divide_integers(block.data(), args.count, work.type, work.divide_by);
    put_block(work, block.data(), at, bytes);
    at += bytes;
    limit = kBlockBytes;
  }
  if (work.streaming) compute::stream_fence();
}

void reduce(const ReduceWork& work) {
  const Combine combine = combine_of(work.op);
  assert(work.divide_by <= 1 || combine == Combine::kSum);
  const compute::FloatEnvironment environment;
  const auto kernel = reduce_kernel(work.type, combine);
  const compute::ReduceArgs args{.dsts = bytes_of(work.dsts.data()),
                                 .dst_count = work.dsts.size(),
                                 .srcs = bytes_of(work.srcs.data()),
                                 .src_count = work.srcs.size(),
                                 .count = work.count,
                                 .divisor = work.divide_by};
  const bool divide_after = work.divide_by > 1 && compute::is_integer(work.type);
  if (work.streaming && !divide_after && share_alignment(work)) {
    reduce_streaming(work, kernel, args);
  } else if (work.streaming || divide_after) {
    reduce_in_blocks(work, kernel, args);
  } else {
    kernel(args);
  }
}

void copy(const CopyWork& work) {
  const size_t block = work.dsts.size() == 1 ? std::max<size_t>(work.bytes, 1) : kBlockBytes;
  for (size_t at = 0; at < work.bytes; at += block) {
    const size_t bytes = std::min(block, work.bytes - at);
    for (std::byte* dst : work.dsts) {
      if (dst == work.src) continue;
      if (work.streaming) {
        compute::stream_copy(bytes_of(dst) + at, bytes_of(work.src) + at, bytes);
      } else {
        std::memcpy(dst + at, work.src + at, bytes);
      }
    }
  }
  if (work.streaming) compute::stream_fence();
}

class HostCompute final : public Compute {
 public:
  Ticket submit(const ReduceWork& work) override {
    assert(!work.srcs.empty() && !work.dsts.empty());
    if (work.srcs.size() == 1 && work.divide_by <= 1) {
      copy({.dsts = work.dsts,
            .src = work.srcs[0],
            .bytes = work.count * element_bytes(work.type),
            .streaming = work.streaming});
    } else if (work.count > 0) {
      reduce(work);
    }
    return 0;
  }

  Ticket submit(const CopyWork& work) override {
    assert(!work.dsts.empty());
    copy(work);
    return 0;
  }

  Ticket submit(const ScaleWork& work) override {
    const compute::FloatEnvironment environment;
    scale_kernel(work.type)({.dst = bytes_of(work.dst),
                             .src = bytes_of(work.src),
                             .scalar = bytes_of(work.scalar),
                             .count = work.count});
    return 0;
  }

  bool done(Ticket) override { return true; }
};

}  // namespace

Compute& host_compute() {
  static auto& instance = *new HostCompute;  // as catalog()
  return instance;
}

}  // namespace railccl
