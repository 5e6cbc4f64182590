// Which pointers, streams and operators go with calls on memory of a GPU: errors that name the
// argument, with a stand-in for the driver.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <numeric>
#include <span>
#include <string>

#include "tests/api/api_world.h"
#include "tests/cuda/device_world.h"

namespace railccl::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string last_error() { return ncclGetLastError(nullptr); }

TEST(DeviceMemory, DoesNotMixWithTheHosts) {
  const DeviceArray<float> device(4);
  std::array<float, 4> host{};
  run_ranks(1, [&](RankOf& self) {
    EXPECT_EQ(ncclAllReduce(device.data(), host.data(), 4, ncclFloat, ncclSum, self.comm, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(),
                HasSubstr("argument recvbuff of ncclAllReduce is memory of the host that no GPU"));
    EXPECT_EQ(ncclAllReduce(host.data(), device.data(), 4, ncclFloat, ncclSum, self.comm, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument sendbuff of ncclAllReduce"));
  });
}

TEST(DeviceMemory, TakesACudaStream) {
  const DeviceArray<float> device(4);
  run_ranks(1, [&](RankOf& self) {
    railcclStream_t stream = nullptr;
    ASSERT_EQ(railcclStreamCreate(&stream), ncclSuccess);
    EXPECT_EQ(ncclSend(device.data(), 4, ncclFloat, 0, self.comm, stream), ncclInvalidUsage);
    EXPECT_THAT(last_error(), HasSubstr("argument stream of ncclSend is a stream of railccl"));
    EXPECT_EQ(railcclStreamDestroy(stream), ncclSuccess);
  });
}

TEST(DeviceMemory, OfTheHostTakesNoCudaStream) {
  std::array<float, 1> value = {1};
  run_ranks(1, [&](RankOf& self) {
    for (const uintptr_t number : {1, 2}) {
      auto* const stream = reinterpret_cast<cudaStream_t>(number);
      EXPECT_EQ(ncclAllReduce(value.data(), value.data(), 1, ncclFloat, ncclSum, self.comm, stream),
                ncclInvalidUsage);
      EXPECT_THAT(last_error(), HasSubstr("argument stream of ncclAllReduce is not a stream of"));
    }
  });
}

constexpr size_t kPiece = size_t{2} << 20;  // of a driver's memory

// A driver gives out addresses that the host has used before.
TEST(DeviceMemory, OfTheLibraryIsNeverTakenForTheHosts) {
  void* const room =
      mmap(nullptr, 2 * kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(room, MAP_FAILED);
  auto* const begin =
      reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(room) + kPiece - 1) / kPiece * kPiece);
  run_ranks(1, [&](RankOf& self) {
    ASSERT_EQ(ncclAllReduce(begin, begin, 4, ncclInt8, ncclSum, self.comm, nullptr), ncclSuccess);
    ASSERT_EQ(mprotect(room, 2 * kPiece, PROT_NONE), 0);
    fake_driver_place_next(begin);
    void* pointer = nullptr;
    ASSERT_EQ(ncclMemAlloc(&pointer, kPiece), ncclSuccess);
    ASSERT_EQ(pointer, begin);
    const int before = fake_driver_launches();
    const FakeStreamHandle stream;
    EXPECT_EQ(ncclAllReduce(pointer, pointer, 4, ncclInt8, ncclSum, self.comm, stream.get()),
              ncclSuccess)
        << last_error();
    stream.synchronize();
    EXPECT_EQ(fake_driver_launches(), before + 1);
    EXPECT_EQ(ncclMemFree(pointer), ncclSuccess) << last_error();
  });
  munmap(room, 2 * kPiece);
}

// 1, 2, 3, 4 in managed memory, in a piece of its own as a driver gives it out. Stays.
std::span<float> make_managed() {
  auto* const values = static_cast<float*>(std::aligned_alloc(kPiece, kPiece));
  std::iota(values, values + 4, 1.0F);
  fake_driver_set_managed_memory(values, kPiece);
  return {values, 4};
}

TEST(DeviceMemory, ThatTheHostCanReadGoesWithoutAStream) {
  const std::span<float> managed = make_managed();
  std::array<float, 4> host{};
  const int before = fake_driver_launches();
  run_ranks(1, [&](RankOf& self) {
    EXPECT_EQ(ncclAllReduce(managed.data(), host.data(), 4, ncclFloat, ncclSum, self.comm, nullptr),
              ncclSuccess)
        << last_error();
    EXPECT_THAT(host, ElementsAre(1, 2, 3, 4));
  });
  EXPECT_EQ(fake_driver_launches(), before);
}

TEST(DeviceMemory, ThatTheHostCanReadGoesWithACudaStream) {
  const std::span<float> managed = make_managed();
  const DeviceArray<float> device(4);
  const FakeStreamHandle stream;
  run_ranks(1, [&](RankOf& self) {
    EXPECT_EQ(ncclAllReduce(managed.data(), managed.data(), 4, ncclFloat, ncclSum, self.comm,
                            stream.get()),
              ncclSuccess)
        << last_error();
    EXPECT_EQ(ncclAllReduce(managed.data(), device.data(), 4, ncclFloat, ncclSum, self.comm,
                            stream.get()),
              ncclSuccess)
        << last_error();
    stream.synchronize();
    EXPECT_THAT(device.view(), ElementsAre(1, 2, 3, 4));
  });
}

TEST(DeviceMemory, OfNoElementsIsNotLookedAt) {
  const DeviceArray<float> device(4);
  run_ranks(1, [&](RankOf& self) {
    EXPECT_EQ(ncclAllReduce(device.data(), nullptr, 0, ncclFloat, ncclSum, self.comm, nullptr),
              ncclSuccess)
        << last_error();
  });
}

TEST(DeviceMemory, IsAllocatedRegisteredAndFreed) {
  run_ranks(1, [&](RankOf& self) {
    void* memory = nullptr;
    ASSERT_EQ(ncclMemAlloc(&memory, 4096), ncclSuccess) << last_error();
    EXPECT_NE(fake_driver_host_view(memory), nullptr);
    void* handle = nullptr;
    EXPECT_EQ(ncclCommRegister(self.comm, memory, 4096, &handle), ncclSuccess) << last_error();
    EXPECT_EQ(ncclCommDeregister(self.comm, handle), ncclSuccess);
    EXPECT_EQ(ncclMemFree(memory), ncclSuccess) << last_error();
    EXPECT_EQ(fake_driver_host_view(memory), nullptr);
  });
}

TEST(DeviceMemory, HoldsNoScalarThatIsSaidToBeTheHosts) {
  const DeviceArray<float> scalar(1);
  run_ranks(1, [&](RankOf& self) {
    ncclRedOp_t op = ncclSum;
    EXPECT_EQ(
        ncclRedOpCreatePreMulSum(&op, scalar.data(), ncclFloat, ncclScalarHostImmediate, self.comm),
        ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument scalar of ncclRedOpCreatePreMulSum is memory"));
    ASSERT_EQ(ncclRedOpCreatePreMulSum(&op, scalar.data(), ncclFloat, ncclScalarDevice, self.comm),
              ncclSuccess);
    float value = 1;
    EXPECT_EQ(ncclAllReduce(&value, &value, 1, ncclFloat, op, self.comm, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("has its scalar in memory of a GPU"));
  });
}

// Run with RAILCCL_DEVICE=host, in a process of its own: settings are read once.
TEST(Forbidden, MemoryOfAGpuIsAnErrorThatNamesTheArgument) {
  if (std::getenv("RAILCCL_TEST_FORBIDDEN") == nullptr) GTEST_SKIP() << "for RAILCCL_DEVICE=host";
  const DeviceArray<float> device(4);
  std::array<float, 4> host{};
  run_ranks(1, [&](RankOf& self) {
    EXPECT_EQ(ncclAllReduce(device.data(), host.data(), 4, ncclFloat, ncclSum, self.comm, nullptr),
              ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument sendbuff of ncclAllReduce is memory of a GPU"));
    EXPECT_EQ(ncclRecv(device.data(), 4, ncclFloat, 0, self.comm, nullptr), ncclInvalidArgument);
    EXPECT_THAT(last_error(), HasSubstr("argument recvbuff of ncclRecv is memory of a GPU"));
    void* memory = nullptr;
    ASSERT_EQ(ncclMemAlloc(&memory, 64), ncclSuccess);
    std::memset(memory, 1, 64);
    EXPECT_EQ(ncclMemFree(memory), ncclSuccess);
  });
}

}  // namespace
}  // namespace railccl::test
