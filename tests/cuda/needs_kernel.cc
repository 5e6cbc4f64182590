// For programs whose tests need the kernel for GPUs: a build without nvcc has none, and they are
// skipped.
#include <gtest/gtest.h>

#include <string>

#include "include/railccl/railccl.h"

namespace railccl::test {
namespace {

class NeedsKernel : public ::testing::Environment {
 public:
  void SetUp() override {
    size_t length = 0;
    std::string info(size_t{1} << 20, '\0');
    ASSERT_EQ(railcclInfo(railcclText, info.data(), info.size(), &length), ncclSuccess);
    if (info.find("CUDA: yes") == std::string::npos) GTEST_SKIP() << "this build found no nvcc";
  }
};

[[maybe_unused]] ::testing::Environment* const kNeedsKernel =
    ::testing::AddGlobalTestEnvironment(new NeedsKernel);

}  // namespace
}  // namespace railccl::test
