// For programs whose tests need the kernel for GPUs: a build without nvcc has none, and ctest
// counts them as skipped. (Asked of the build: railcclInfo loads every transport's library, and
// UCX's handlers of memory events do not go with the thread sanitizer.)
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace railccl::test {
namespace {

class NeedsKernel : public ::testing::Environment {
 public:
  void SetUp() override {
    if (RAILCCL_HAS_KERNEL != 0) return;
    constexpr int kSkipped = 77;
    std::puts("SKIP: this build found no nvcc");
    std::exit(kSkipped);
  }
};

[[maybe_unused]] ::testing::Environment* const kNeedsKernel =
    ::testing::AddGlobalTestEnvironment(new NeedsKernel);

}  // namespace
}  // namespace railccl::test
