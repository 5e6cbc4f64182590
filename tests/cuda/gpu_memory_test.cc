// Device pointers given to the API: errors that name the argument, with a stand-in for the driver.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <numeric>
#include <span>
#include <string>

#include "tests/api/api_world.h"

namespace railccl::test {
namespace {

using ::testing::HasSubstr;

constexpr size_t kCount = 4;
constexpr size_t kPiece = size_t{2} << 20;  // in which a driver gives out memory

// A piece of memory of its own: 1, 2, 3, 4, ...
std::span<float> make_piece() {
  auto* const values = static_cast<float*>(std::aligned_alloc(kPiece, kPiece));
  std::iota(values, values + kCount, 1.0F);
  return {values, kCount};
}

class GpuMemory : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    void* const driver = dlopen(RAILCCL_FAKE_DRIVER, RTLD_NOW);
    ASSERT_NE(driver, nullptr) << dlerror();
    const auto declare = [driver](const char* function, std::span<const float> values) {
      using Declare = void (*)(const void*, size_t);
      reinterpret_cast<Declare>(dlsym(driver, function))(values.data(), values.size_bytes());
    };
    on_device = make_piece();
    managed = make_piece();
    declare("fake_driver_set_device_memory", on_device);
    declare("fake_driver_set_managed_memory", managed);
  }
  static void TearDownTestSuite() {
    std::free(on_device.data());
    std::free(managed.data());
  }

  static std::string last_error() { return ncclGetLastError(nullptr); }

  static inline std::span<float> on_device;
  static inline std::span<float> managed;
  static inline std::array<float, kCount> on_host{};
};

TEST_F(GpuMemory, IsAnErrorThatNamesTheArgument) {
  run_ranks(1, [](RankOf& self) {
    EXPECT_EQ(
        ncclAllReduce(on_device.data(), on_host.data(), 4, ncclFloat, ncclSum, self.comm, nullptr),
        ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument sendbuff of ncclAllReduce is memory of a GPU"));
    EXPECT_EQ(
        ncclAllReduce(on_host.data(), &on_device[1], 3, ncclFloat, ncclSum, self.comm, nullptr),
        ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument recvbuff of ncclAllReduce is memory of a GPU"));
    EXPECT_EQ(ncclSend(on_device.data(), 4, ncclFloat, 0, self.comm, nullptr), ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument sendbuff of ncclSend is memory of a GPU"));
    EXPECT_EQ(ncclRecv(on_device.data(), 4, ncclFloat, 0, self.comm, nullptr), ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument recvbuff of ncclRecv is memory of a GPU"));
    void* handle = nullptr;
    EXPECT_EQ(ncclCommRegister(self.comm, on_device.data(), 16, &handle), ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument buff of ncclCommRegister is memory of a GPU"));
  });
}

TEST_F(GpuMemory, ThatTheHostCanReadIsTaken) {
  run_ranks(1, [](RankOf& self) {
    EXPECT_EQ(
        ncclAllReduce(managed.data(), on_host.data(), 4, ncclFloat, ncclSum, self.comm, nullptr),
        ncclSuccess)
        << last_error();
    EXPECT_THAT(on_host, testing::ElementsAre(1, 2, 3, 4));
  });
}

TEST_F(GpuMemory, OfNoElementsIsNotLookedAt) {
  run_ranks(1, [](RankOf& self) {
    EXPECT_EQ(ncclAllReduce(on_device.data(), on_device.data(), 0, ncclFloat, ncclSum, self.comm,
                            nullptr),
              ncclSuccess)
        << last_error();
  });
}

TEST(Streams, OfCudaAreNamed) {
  run_ranks(1, [](RankOf& self) {
    float value = 1;
    for (const uintptr_t number : {1, 2}) {
      auto* const stream = reinterpret_cast<cudaStream_t>(number);
      EXPECT_EQ(ncclAllReduce(&value, &value, 1, ncclFloat, ncclSum, self.comm, stream),
                ncclInvalidUsage);
      EXPECT_THAT(std::string(ncclGetLastError(nullptr)),
                  HasSubstr("argument stream of ncclAllReduce is not a stream of"));
    }
  });
}

}  // namespace
}  // namespace railccl::test
