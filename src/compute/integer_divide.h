// Division of integers by one divisor, truncating toward zero: the last step of an integer average.
// Internal to src/compute.
#pragma once

#include <cstddef>
#include <cstdint>

#include "src/base/types.h"

namespace railccl::compute {

bool is_integer(DataType type);

// Divides `count` elements at `data` (aligned to 8 bytes) in place; divisor >= 2, `type` integer.
void divide_integers(uint8_t* data, size_t count, DataType type, uint32_t divisor);

}  // namespace railccl::compute
