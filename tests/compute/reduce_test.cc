// Every type, operator, number of sources and destinations, length and alignment, bit by bit
// against the scalar reference, on every SIMD target.
#include <gtest/gtest.h>

#include <random>

#include "src/compute/compute.h"
#include "tests/compute/compute_fixture.h"
#include "tests/compute/scalar_reference.h"

namespace railccl {
namespace {

using testing::Bytes;
using testing::GuardedBuffer;
using testing::ReferenceCall;

constexpr uint64_t kSeed = 20240917;
constexpr size_t kCounts[] = {0, 1, 3, 15, 16, 17, 63, 64, 65, 1000, 4097};
constexpr size_t kSourceCounts[] = {1, 2, 3, 4, 5, 17};
constexpr uint32_t kDivisors[] = {2, 3, 7, 8, 129, 4096, 4000000000u};

struct Case {
  ReferenceCall call;
  size_t dst_count = 1;
  bool streaming = false;
  bool aligned = false;
};

class ReduceTest : public testing::OnEveryTarget {
 protected:
  // Runs one case with buffers at random alignments and compares every destination.
  void check(const Case& one, const Bytes& expected, std::mt19937_64& random) {
    const size_t bytes = expected.size();
    auto misalignment = [&] { return one.aligned ? 0 : random() % 64; };
    std::vector<GuardedBuffer> srcs, dsts;
    for (const Bytes& src : one.call.srcs) srcs.emplace_back(bytes, misalignment()).fill(src);
    for (size_t d = 0; d < one.dst_count; ++d) dsts.emplace_back(bytes, misalignment());
    std::vector<const std::byte*> src_pointers;
    std::vector<std::byte*> dst_pointers;
    for (GuardedBuffer& src : srcs) src_pointers.push_back(src.data());
    for (GuardedBuffer& dst : dsts) dst_pointers.push_back(dst.data());
    const auto ticket = host_compute().submit(ReduceWork{.dsts = dst_pointers,
                                                         .srcs = src_pointers,
                                                         .count = one.call.count,
                                                         .type = one.call.type,
                                                         .op = one.call.op,
                                                         .divide_by = one.call.divide_by,
                                                         .streaming = one.streaming});
    ASSERT_TRUE(host_compute().done(ticket));
    for (const GuardedBuffer& dst : dsts) {
      ASSERT_EQ(testing::first_difference(dst.bytes(), expected, one.call.type), "") << name(one);
      ASSERT_TRUE(dst.guards_intact()) << name(one);
    }
  }

  static std::string name(const Case& one) {
    return fmt::format("{} {} sources {} destinations {} count {} divisor {} streaming {} seed {}",
                       data_type_name(one.call.type), reduce_op_name(one.call.op),
                       one.call.srcs.size(), one.dst_count, one.call.count, one.call.divide_by,
                       one.streaming, kSeed);
  }
};

uint32_t divisor_for(ReduceOp op, std::mt19937_64& random) {
  return op == ReduceOp::kAvg ? kDivisors[random() % std::size(kDivisors)] : 1;
}

TEST_P(ReduceTest, EveryTypeOperatorShapeAndAlignment) {
  std::mt19937_64 random(kSeed);
  for (DataType type : testing::all_types()) {
    std::vector<Bytes> operands;
    for (int s = 0; s < 17; ++s) operands.push_back(testing::random_operand(type, 4097, random));
    for (ReduceOp op : testing::all_ops()) {
      for (size_t sources : kSourceCounts) {
        for (size_t count : kCounts) {
          Case one{.call = {.srcs = std::span(operands).first(sources),
                            .count = count,
                            .type = type,
                            .op = op,
                            .divide_by = divisor_for(op, random)}};
          const Bytes expected = testing::reference_reduce(one.call);
          for (one.dst_count = 1; one.dst_count <= 4; ++one.dst_count) {
            one.streaming = random() % 2 == 0;
            one.aligned = random() % 4 == 0;
            check(one, expected, random);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST_P(ReduceTest, DestinationMayBeASource) {
  std::mt19937_64 random(kSeed);
  for (DataType type : testing::all_types()) {
    std::vector<Bytes> operands;
    for (int s = 0; s < 3; ++s) operands.push_back(testing::random_operand(type, 4097, random));
    const Bytes expected =
        testing::reference_reduce({.srcs = operands, .count = 4097, .type = type});
    for (bool streaming : {false, true}) {
      for (size_t aliased = 0; aliased < 3; ++aliased) {
        std::vector<GuardedBuffer> buffers;
        for (const Bytes& src : operands) {
          buffers.emplace_back(expected.size(), random()).fill(src);
        }
        const std::vector<const std::byte*> srcs{buffers[0].data(), buffers[1].data(),
                                                 buffers[2].data()};
        const std::vector<std::byte*> dsts{buffers[aliased].data()};
        host_compute().submit(ReduceWork{
            .dsts = dsts, .srcs = srcs, .count = 4097, .type = type, .streaming = streaming});
        ASSERT_EQ(testing::first_difference(buffers[aliased].bytes(), expected, type), "")
            << data_type_name(type) << " alias of source " << aliased << " streaming " << streaming;
      }
    }
  }
}

// Every destination is also a source: what all ranks of a node do in place.
TEST_P(ReduceTest, AllDestinationsMayBeAllSources) {
  std::mt19937_64 random(kSeed);
  constexpr size_t kCount = 3000;
  for (bool streaming : {false, true}) {
    std::vector<Bytes> operands;
    std::vector<GuardedBuffer> buffers;
    for (int s = 0; s < 4; ++s) {
      operands.push_back(testing::random_operand(DataType::kBfloat16, kCount, random));
      buffers.emplace_back(kCount * 2, random()).fill(operands.back());
    }
    std::vector<const std::byte*> srcs;
    std::vector<std::byte*> dsts;
    for (GuardedBuffer& buffer : buffers) {
      srcs.push_back(buffer.data());
      dsts.push_back(buffer.data());
    }
    host_compute().submit(ReduceWork{.dsts = dsts,
                                     .srcs = srcs,
                                     .count = kCount,
                                     .type = DataType::kBfloat16,
                                     .streaming = streaming});
    const Bytes expected =
        testing::reference_reduce({.srcs = operands, .count = kCount, .type = DataType::kBfloat16});
    for (const GuardedBuffer& buffer : buffers) {
      EXPECT_EQ(testing::first_difference(buffer.bytes(), expected, DataType::kBfloat16), "");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, ReduceTest, ::testing::ValuesIn(compute::kernel_targets()),
                         testing::target_name);

}  // namespace
}  // namespace railccl
