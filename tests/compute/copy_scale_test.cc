// Copy and scale at every alignment, the surroundings of a call (floating-point modes of the
// caller's thread), and the cache query.
#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <random>

#include "src/compute/compute.h"
#include "tests/compute/compute_fixture.h"
#include "tests/compute/scalar_reference.h"

namespace railccl {
namespace {

using testing::Bytes;
using testing::GuardedBuffer;

constexpr uint64_t kSeed = 7;

class CopyTest : public testing::OnEveryTarget {};
class ScaleTest : public testing::OnEveryTarget {};
class FloatModeTest : public testing::OnEveryTarget {};

TEST_P(CopyTest, EveryLengthAlignmentAndDestinationCount) {
  std::mt19937_64 random(kSeed);
  for (size_t bytes : {0, 1, 63, 64, 65, 127, 128, 4095, 4096, 4097, 20000}) {
    const Bytes content = testing::random_operand(DataType::kUint8, bytes, random);
    for (size_t dst_count = 1; dst_count <= 4; ++dst_count) {
      for (int round = 0; round < 16; ++round) {
        GuardedBuffer src(bytes, random());
        src.fill(content);
        std::vector<GuardedBuffer> dsts;
        std::vector<std::byte*> pointers;
        for (size_t d = 0; d < dst_count; ++d) dsts.emplace_back(bytes, random());
        for (GuardedBuffer& dst : dsts) pointers.push_back(dst.data());
        host_compute().submit(CopyWork{
            .dsts = pointers, .src = src.data(), .bytes = bytes, .streaming = round % 2 == 0});
        for (const GuardedBuffer& dst : dsts) {
          ASSERT_EQ(testing::first_difference(dst.bytes(), content, DataType::kUint8), "")
              << bytes << " bytes, seed " << kSeed;
          ASSERT_TRUE(dst.guards_intact()) << bytes << " bytes, seed " << kSeed;
        }
      }
    }
  }
}

TEST_P(CopyTest, ADestinationMayBeTheSource) {
  std::mt19937_64 random(kSeed);
  const Bytes content = testing::random_operand(DataType::kUint8, 9000, random);
  GuardedBuffer both(9000, 5);
  GuardedBuffer other(9000, 9);
  both.fill(content);
  const std::vector<std::byte*> dsts{both.data(), other.data()};
  host_compute().submit(CopyWork{.dsts = dsts, .src = both.data(), .bytes = 9000});
  EXPECT_EQ(testing::first_difference(both.bytes(), content, DataType::kUint8), "");
  EXPECT_EQ(testing::first_difference(other.bytes(), content, DataType::kUint8), "");
}

TEST_P(ScaleTest, EveryTypeAndLength) {
  std::mt19937_64 random(kSeed);
  for (DataType type : testing::all_types()) {
    for (size_t count : {0, 1, 3, 15, 16, 17, 63, 64, 65, 1000}) {
      const Bytes content = testing::random_operand(type, count, random);
      const Bytes scalar = testing::random_operand(type, 1, random);
      const Bytes expected = testing::reference_scale(content, count, type, scalar);
      GuardedBuffer src(content.size(), random());
      GuardedBuffer dst(content.size(), random());
      src.fill(content);
      const bool in_place = random() % 2 == 0;
      GuardedBuffer& target = in_place ? src : dst;
      host_compute().submit(ScaleWork{.dst = target.data(),
                                      .src = src.data(),
                                      .count = count,
                                      .type = type,
                                      .scalar = reinterpret_cast<const std::byte*>(scalar.data())});
      ASSERT_EQ(testing::first_difference(target.bytes(), expected, type), "")
          << data_type_name(type) << " count " << count << " seed " << kSeed;
      ASSERT_TRUE(target.guards_intact());
    }
  }
}

#if defined(__x86_64__)
// A caller that flushes denormals and rounds toward zero gets the same bits, and its modes back.
TEST_P(FloatModeTest, TheCallersModesDoNotMatter) {
  std::mt19937_64 random(kSeed);
  for (DataType type : testing::all_types()) {
    std::vector<Bytes> srcs;
    for (int s = 0; s < 2; ++s) srcs.push_back(testing::random_operand(type, 1000, random));
    const Bytes expected = testing::reference_reduce({.srcs = srcs, .count = 1000, .type = type});
    Bytes result(expected.size());
    std::byte* const dst = reinterpret_cast<std::byte*>(result.data());
    const std::vector<const std::byte*> pointers{reinterpret_cast<std::byte*>(srcs[0].data()),
                                                 reinterpret_cast<std::byte*>(srcs[1].data())};
    const unsigned before = _mm_getcsr();
    const unsigned unusual = before | 0x8040 | _MM_ROUND_TOWARD_ZERO;  // FTZ, DAZ
    _mm_setcsr(unusual);
    host_compute().submit(
        ReduceWork{.dsts = {&dst, 1}, .srcs = pointers, .count = 1000, .type = type});
    const unsigned after = _mm_getcsr();
    _mm_setcsr(before);
    EXPECT_EQ(after, unusual);
    EXPECT_EQ(testing::first_difference(result.data(), expected, type), "") << data_type_name(type);
  }
}
INSTANTIATE_TEST_SUITE_P(Targets, FloatModeTest, ::testing::ValuesIn(compute::kernel_targets()),
                         testing::target_name);
#endif

INSTANTIATE_TEST_SUITE_P(Targets, CopyTest, ::testing::ValuesIn(compute::kernel_targets()),
                         testing::target_name);
INSTANTIATE_TEST_SUITE_P(Targets, ScaleTest, ::testing::ValuesIn(compute::kernel_targets()),
                         testing::target_name);

TEST(KernelTargets, MoreThanTheFallbackRunsHere) {
  EXPECT_GE(compute::kernel_targets().size(), 2u);
}

}  // namespace
}  // namespace railccl
