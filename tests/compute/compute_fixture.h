// Helpers of the compute tests: guarded buffers at any alignment, operands full of special values,
// and a parameter that runs a test on every SIMD target of this machine.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "src/base/types.h"
#include "src/compute/kernel_targets.h"
#include "tests/compute/scalar_reference.h"

namespace railccl::testing {

// `bytes` usable bytes at `misalignment` past a cache line, between guards that must not change.
class GuardedBuffer {
 public:
  GuardedBuffer(size_t bytes, size_t misalignment);
  std::byte* data() { return reinterpret_cast<std::byte*>(storage_.data() + begin_); }
  const uint8_t* bytes() const { return storage_.data() + begin_; }
  void fill(const Bytes& content);
  bool guards_intact() const;

 private:
  size_t bytes_;
  Bytes storage_;
  size_t begin_;
};

// Elements of `type`: mostly numbers of moderate size, some of any bits, some special.
Bytes random_operand(DataType type, size_t count, std::mt19937_64& random);

std::vector<DataType> all_types();
std::vector<ReduceOp> all_ops();

// Every test of this fixture runs once per target.
class OnEveryTarget : public ::testing::TestWithParam<compute::KernelTarget> {
 protected:
  void SetUp() override { compute::force_kernel_target(GetParam()); }
  void TearDown() override { compute::release_kernel_target(); }
};

std::string target_name(const ::testing::TestParamInfo<compute::KernelTarget>& info);

}  // namespace railccl::testing
