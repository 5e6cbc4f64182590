// Reductions of fake_nccl.cc, element by element in rank order. Pure.
#pragma once

#include <railccl/nccl.h>

#include <cstddef>
#include <span>
#include <vector>

namespace railccl::fake_nccl {

size_t bytes_of(ncclDataType_t type);

struct Reduction {
  ncclDataType_t type = ncclFloat;
  ncclRedOp_t op = ncclSum;               // >= ncclNumOps: sum of inputs[r] * scalars[r]
  std::vector<const std::byte*> inputs;   // by rank
  std::vector<const std::byte*> scalars;  // by rank, one element each
};

void reduce_elements(const Reduction& reduction, size_t first, size_t count, std::byte* out);

}  // namespace railccl::fake_nccl
