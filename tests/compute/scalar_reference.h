// What a reduction must answer, written without the library: floats as doubles in tables, one
// element at a time. The oracle of the compute tests (docs/numerics.md in code).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/base/types.h"

namespace railccl::testing {

using Bytes = std::vector<uint8_t>;

struct ReferenceCall {
  std::span<const Bytes> srcs;
  size_t count = 0;
  DataType type = DataType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  uint32_t divide_by = 1;
};

Bytes reference_reduce(const ReferenceCall& call);
Bytes reference_scale(const Bytes& src, size_t count, DataType type, const Bytes& scalar);

// 16 and 8 bit floats.
bool is_small_float(DataType type);
double decode_small(DataType type, uint32_t bits);
uint32_t encode_small(DataType type, double value);  // to nearest even
bool is_nan_bits(DataType type, uint32_t bits);
uint32_t canonical_nan(DataType type);

// "element 5: got 3f800000, expected 40000000", or an empty string where all are equal.
std::string first_difference(const uint8_t* got, const Bytes& expected, DataType type);

}  // namespace railccl::testing
