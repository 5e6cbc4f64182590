// What a collective must give, one element at a time, written without the library's arithmetic:
// small floats are decoded by their definition and rounded by searching the nearest value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "src/base/types.h"

namespace railccl {

using Bytes = std::vector<std::byte>;

// `count` elements that neither overflow nor round to nothing when up to 8 are combined by `op`.
Bytes random_elements(std::mt19937_64& random, DataType type, ReduceOp op, size_t count);

// inputs[0][i] op inputs[1][i] op ... for i < count, from `first` on.
Bytes reduce_elements(const std::vector<Bytes>& inputs, size_t first, size_t count, DataType type,
                      ReduceOp op, uint32_t divide_by);

}  // namespace railccl
