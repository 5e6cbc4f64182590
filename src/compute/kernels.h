// The host kernels as plain function pointers: what host_compute.cc chooses from. Internal to
// src/compute; the kernels are stateless and any thread may call them. Each is compiled once per
// SIMD target and picked at run time; all targets give the same bits (docs/numerics.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "src/base/types.h"

namespace railccl::compute {

constexpr size_t kLineBytes = 64;  // of the cache; no SIMD vector is longer

// One pass: dsts[j][dst_offset...] = op over srcs[i][src_offset...]; offsets in bytes. A dst may
// equal a src where the offsets are equal too. The output of 16 and 8 bit floats is rounded once.
struct ReduceArgs {
  uint8_t* const* dsts = nullptr;
  size_t dst_count = 0;
  const uint8_t* const* srcs = nullptr;
  size_t src_count = 0;
  size_t dst_offset = 0;
  size_t src_offset = 0;
  size_t count = 0;      // elements
  uint32_t divisor = 1;  // sums of floats only: divides the accumulator
  // Non-temporal stores; every dst + dst_offset is aligned to kLineBytes. The caller ends with
  // stream_fence().
  bool streaming = false;
};

struct ScaleArgs {
  uint8_t* dst = nullptr;
  const uint8_t* src = nullptr;
  const uint8_t* scalar = nullptr;
  size_t count = 0;  // elements
};

using ReduceKernel = void (*)(const ReduceArgs&);
using ScaleKernel = void (*)(const ScaleArgs&);

enum class Combine : uint8_t { kSum, kProd, kMax, kMin };

// One family per source file; a family answers nullptr for a type that is not its own.
ReduceKernel integer_kernel(DataType type, Combine combine);
ReduceKernel float_kernel(DataType type, Combine combine);        // sum, prod of f32, f64
ReduceKernel small_float_kernel(DataType type, Combine combine);  // sum, prod of 16 and 8 bit
ReduceKernel float_order_kernel(DataType type, Combine combine);  // min, max of all floats
ScaleKernel integer_scale_kernel(DataType type);
ScaleKernel float_scale_kernel(DataType type);
ScaleKernel small_float_scale_kernel(DataType type);

// Copies with non-temporal stores of whole cache lines; the edges of a misaligned dst are stored
// normally. The caller ends a series of these with stream_fence(), before it tells anyone.
void stream_copy(uint8_t* dst, const uint8_t* src, size_t bytes);
void stream_fence();

}  // namespace railccl::compute
