// Conversions, exhaustively: every bit pattern in, and on the way out every representable value,
// every midpoint between two, and the float32 neighbours of both.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "src/compute/compute.h"
#include "tests/compute/compute_fixture.h"
#include "tests/compute/scalar_reference.h"

namespace railccl {
namespace {

using testing::Bytes;

constexpr DataType kSmallFloats[] = {DataType::kFloat16, DataType::kBfloat16, DataType::kFloat8e4m3,
                                     DataType::kFloat8e5m2};

Bytes every_pattern(DataType type) {
  const size_t size = element_bytes(type);
  const uint32_t patterns = 1u << (8 * size);
  Bytes bytes(patterns * size);
  for (uint32_t i = 0; i < patterns; ++i) std::memcpy(bytes.data() + i * size, &i, size);
  return bytes;
}

Bytes repeated(DataType type, uint32_t bits, size_t count) {
  const size_t size = element_bytes(type);
  Bytes bytes(count * size);
  for (size_t i = 0; i < count; ++i) std::memcpy(bytes.data() + i * size, &bits, size);
  return bytes;
}

class SmallFloatTest : public testing::OnEveryTarget {
 protected:
  static Bytes reduce(const testing::ReferenceCall& call) {
    Bytes result(call.srcs[0].size());
    std::byte* const dst = reinterpret_cast<std::byte*>(result.data());
    std::vector<const std::byte*> srcs;
    for (const Bytes& src : call.srcs) {
      srcs.push_back(reinterpret_cast<const std::byte*>(src.data()));
    }
    host_compute().submit(ReduceWork{.dsts = {&dst, 1},
                                     .srcs = srcs,
                                     .count = call.count,
                                     .type = call.type,
                                     .op = call.op,
                                     .divide_by = call.divide_by});
    return result;
  }
};

// x + -0 is x, converted there and back: nothing but NaNs (and an infinity of e5m2) may change.
TEST_P(SmallFloatTest, EveryPatternSurvivesARoundTrip) {
  for (DataType type : kSmallFloats) {
    const size_t size = element_bytes(type);
    const size_t count = size_t{1} << (8 * size);
    const uint32_t negative_zero = 1u << (8 * size - 1);
    const std::vector<Bytes> srcs{every_pattern(type), repeated(type, negative_zero, count)};
    const Bytes result = reduce({.srcs = srcs, .count = count, .type = type});
    for (uint32_t i = 0; i < count; ++i) {
      uint32_t bits = 0;
      std::memcpy(&bits, result.data() + i * size, size);
      uint32_t expected = testing::is_nan_bits(type, i) ? testing::canonical_nan(type) : i;
      if (type == DataType::kFloat8e5m2 && (i & 0x7F) == 0x7C) expected = i - 1;  // saturates
      ASSERT_EQ(bits, expected) << data_type_name(type) << " pattern " << i;
    }
  }
}

// Halving all patterns, and dividing them by other numbers, visits midpoints and their neighbours,
// denormals and underflow.
TEST_P(SmallFloatTest, EveryPatternDivided) {
  for (DataType type : kSmallFloats) {
    const std::vector<Bytes> srcs{every_pattern(type)};
    const size_t count = size_t{1} << (8 * element_bytes(type));
    for (uint32_t divisor : {2u, 3u, 5u, 1000u, 16777216u}) {
      const testing::ReferenceCall call{
          .srcs = srcs, .count = count, .type = type, .op = ReduceOp::kAvg, .divide_by = divisor};
      ASSERT_EQ(
          testing::first_difference(reduce(call).data(), testing::reference_reduce(call), type), "")
          << data_type_name(type) << " divided by " << divisor;
    }
  }
}

// All pairs of 8-bit floats; 16-bit floats with operands chosen to land on ties.
TEST_P(SmallFloatTest, EveryPatternWithChosenOperands) {
  for (DataType type : kSmallFloats) {
    const size_t size = element_bytes(type);
    const size_t count = size_t{1} << (8 * size);
    const uint32_t step = size == 1 ? 1 : 1021;
    for (uint32_t other = 0; other < count; other += step) {
      const std::vector<Bytes> srcs{every_pattern(type), repeated(type, other, count)};
      for (ReduceOp op : {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMin, ReduceOp::kMax}) {
        if (size == 2 && other % 8 != static_cast<uint32_t>(op)) continue;
        const testing::ReferenceCall call{.srcs = srcs, .count = count, .type = type, .op = op};
        ASSERT_EQ(
            testing::first_difference(reduce(call).data(), testing::reference_reduce(call), type),
            "")
            << data_type_name(type) << " " << reduce_op_name(op) << " with pattern " << other;
      }
    }
  }
}

// The sum of many is rounded once: 17 halves added to 256 do not get lost.
TEST_P(SmallFloatTest, RoundedOnceOverAllSources) {
  std::vector<Bytes> srcs{repeated(DataType::kBfloat16, 0x4380, 64)};                      // 256
  for (int i = 0; i < 17; ++i) srcs.push_back(repeated(DataType::kBfloat16, 0x3F00, 64));  // 0.5
  const Bytes result = reduce({.srcs = srcs, .count = 64, .type = DataType::kBfloat16});
  // 264.5 rounds to 264; adding one at a time would have stayed at 256.
  EXPECT_EQ(result, repeated(DataType::kBfloat16, 0x4384, 64));
}

TEST_P(SmallFloatTest, Float8Saturates) {
  const std::vector<Bytes> e4m3(2, repeated(DataType::kFloat8e4m3, 0xFE, 8));  // -448
  EXPECT_EQ(reduce({.srcs = e4m3, .count = 8, .type = DataType::kFloat8e4m3}),
            repeated(DataType::kFloat8e4m3, 0xFE, 8));
  const std::vector<Bytes> e5m2(2, repeated(DataType::kFloat8e5m2, 0x7B, 8));  // 57344
  EXPECT_EQ(reduce({.srcs = e5m2, .count = 8, .type = DataType::kFloat8e5m2}),
            repeated(DataType::kFloat8e5m2, 0x7B, 8));
}

TEST_P(SmallFloatTest, Float16Overflows) {
  const std::vector<Bytes> srcs{repeated(DataType::kFloat16, 0x7BFF, 8),   // 65504
                                repeated(DataType::kFloat16, 0x4C00, 8)};  // 16: exactly half way
  EXPECT_EQ(reduce({.srcs = srcs, .count = 8, .type = DataType::kFloat16}),
            repeated(DataType::kFloat16, 0x7C00, 8));
}

INSTANTIATE_TEST_SUITE_P(Targets, SmallFloatTest, ::testing::ValuesIn(compute::kernel_targets()),
                         testing::target_name);

}  // namespace
}  // namespace railccl
