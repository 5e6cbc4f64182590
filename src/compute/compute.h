// Where a rank's buffers live and its reductions run: host or CUDA behind one interface. Work is
// submitted and polled, because a GPU answers later; the host has the result when submit returns.
//
// Threading: one thread at a time per Compute. Pointers must stay valid until done().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/base/status.h"
#include "src/base/types.h"

namespace railccl {

// Every dst[i] = srcs[0][i] op srcs[1][i] op ..., in this order, for i < count; dsts.size() >= 1,
// srcs.size() >= 1. A dst may be the same pointer as a src (element-wise safe); otherwise no
// overlap. Any alignment. Read once, written once per dst. 16 and 8 bit floats accumulate in
// float32 over all sources of one call and are rounded once, to nearest even; kAvg and kPreMulSum
// combine as kSum. `divide_by` > 1 divides the result (kAvg; allowed for kSum and kPreMulSum, not
// for the others): floats in the accumulator, integers truncate toward zero. One source and no
// division is a copy of the bits. NaN, overflow and reproducibility: docs/numerics.md.
struct ReduceWork {
  std::span<std::byte* const> dsts;
  std::span<const std::byte* const> srcs;
  size_t count = 0;  // elements
  DataType type = DataType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  uint32_t divide_by = 1;
  // Non-temporal stores: the data is larger than the cache (src/core/topology.h) and is not read
  // again soon. Visible to other threads in the usual way once submit has returned.
  bool streaming = false;
};

// Every dst = src.
struct CopyWork {
  std::span<std::byte* const> dsts;
  const std::byte* src = nullptr;
  size_t bytes = 0;
  bool streaming = false;
};

// dst[i] = src[i] * scalar; `scalar` points to one element of `type`. dst may equal src.
struct ScaleWork {
  std::byte* dst = nullptr;
  const std::byte* src = nullptr;
  size_t count = 0;
  DataType type = DataType::kFloat32;
  const std::byte* scalar = nullptr;
};

class Compute {
 public:
  using Ticket = uint64_t;  // done tickets are ordered
  virtual ~Compute() = default;
  virtual Ticket submit(const ReduceWork& work) = 0;
  virtual Ticket submit(const CopyWork& work) = 0;
  virtual Ticket submit(const ScaleWork& work) = 0;
  virtual bool done(Ticket ticket) = 0;
};

// Highway kernels with run-time dispatch (src/compute/host_compute.cc). Stateless: any thread may
// use it.
Compute& host_compute();

}  // namespace railccl
