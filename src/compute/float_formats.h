// The bit layouts of the float types: what orders them and which NaN every reduction answers.
// Internal to src/compute; data only.
#pragma once

#include <cstdint>

namespace railccl::compute {

// kLargest: the largest magnitude that is not a NaN (infinity where there is one). kNan: the one
// NaN that results carry.
struct Float64Format {
  using Bits = int64_t;
  static constexpr Bits kLargest = 0x7FF0000000000000;
  static constexpr Bits kNan = 0x7FF8000000000000;
};
struct Float32Format {
  using Bits = int32_t;
  static constexpr Bits kLargest = 0x7F800000;
  static constexpr Bits kNan = 0x7FC00000;
};
struct Float16Format {
  using Bits = int16_t;
  static constexpr Bits kLargest = 0x7C00;
  static constexpr Bits kNan = 0x7E00;
};
struct Bfloat16Format {
  using Bits = int16_t;
  static constexpr Bits kLargest = 0x7F80;
  static constexpr Bits kNan = 0x7FC0;
};
// e4m3fn: no infinity; only 0x7F and 0xFF are NaN; 448 is the largest number.
struct Float8e4m3Format {
  using Bits = int8_t;
  static constexpr Bits kLargest = 0x7E;
  static constexpr Bits kNan = 0x7F;
};
struct Float8e5m2Format {
  using Bits = int8_t;
  static constexpr Bits kLargest = 0x7C;
  static constexpr Bits kNan = 0x7F;
};

}  // namespace railccl::compute
