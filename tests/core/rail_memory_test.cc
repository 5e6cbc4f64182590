// What stays registered with the rails and what does not, by counting what a rail is asked for.
#include "src/core/rail_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/core/local_domain.h"

namespace railccl {
namespace {

using testing::HasSubstr;

constexpr size_t kBytes = 100'000;

// Counts registrations; refuses beyond `limit` bytes at a time.
class CountingRail final : public Rail {
 public:
  class Counted final : public Registration {
   public:
    Counted(const MemoryRegion& region, CountingRail& rail) : Registration(region, 1), rail_(rail) {
      ++rail_.made;
      rail_.locked += region.bytes;
    }
    ~Counted() override { rail_.locked -= region().bytes; }

   private:
    CountingRail& rail_;
  };

  const RailInfo& info() const override { return info_; }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) override {
    if (region.bytes > limit - locked) {
      return error(Code::kSystemError, "{} bytes cannot be locked", region.bytes);
    }
    return std::make_unique<Counted>(region, *this);
  }
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t) override {
    return error(Code::kInternalError, "not in this test");
  }
  bool progress(TimeNs, EventSink&) override { return false; }
  void prepare_sleep() override {}
  int wake_fd() const override { return -1; }

  size_t made = 0;
  size_t locked = 0;
  size_t limit = size_t{1} << 40;

 private:
  RailInfo info_{.name = "counted"};
};

class RailMemoryTest : public testing::Test, public RailHost {
 protected:
  std::span<Rail* const> rails() const override { return rails_; }
  uint64_t add_endpoint_sink(EndpointEventSink*) override { return 0; }
  void remove_endpoint_sink(uint64_t) override {}

  std::byte* allocate(size_t bytes = kBytes) {
    auto memory = shared_heap_allocate(bytes);
    if (memory) return static_cast<std::byte*>(*memory);
    ADD_FAILURE() << memory.error().message();
    return nullptr;
  }
  // As an operation does: registered, used, let go.
  RemoteBuffer use(const std::byte* address, size_t bytes) {
    const auto buffer = memory_.acquire(address, bytes);
    if (buffer) return describe(**buffer);
    ADD_FAILURE() << buffer.error().message();
    return {};
  }

  CountingRail first_;
  CountingRail second_;
  std::vector<Rail*> rails_ = {&first_, &second_};
  RailMemory memory_{*this};
};

TEST_F(RailMemoryTest, OtherMemoryIsRegisteredForEachOperation) {
  std::vector<std::byte> buffer(kBytes);
  use(buffer.data(), kBytes);
  use(buffer.data(), kBytes);
  EXPECT_EQ(first_.made, 2u);
  EXPECT_EQ(first_.locked, 0u);
}

TEST_F(RailMemoryTest, LibraryMemoryIsRegisteredOnceAsAWhole) {
  std::byte* const memory = allocate();
  use(memory + 1000, 5000);
  use(memory, kBytes);
  use(memory + kBytes - 1, 1);
  EXPECT_EQ(first_.made, 1u);
  EXPECT_EQ(second_.made, 1u);
  EXPECT_GE(first_.locked, kBytes);
  ASSERT_TRUE(shared_heap_free(memory).is_ok());
}

TEST_F(RailMemoryTest, MemoryThatWasFreedIsForgottenAlsoWhenItsAddressComesAgain) {
  std::byte* const memory = allocate();
  const auto old = memory_.acquire(memory, kBytes);
  ASSERT_TRUE(old);
  ASSERT_TRUE(shared_heap_free(memory).is_ok());
  bool met_again = false;
  std::vector<std::byte*> kept;
  for (int i = 0; i < 100 && !met_again; ++i) {
    kept.push_back(allocate());
    const auto again = memory_.acquire(kept.back(), kBytes);
    ASSERT_TRUE(again);
    EXPECT_NE(*again, *old);
    met_again = kept.back() == memory;
  }
  EXPECT_TRUE(met_again) << "the address did not come again: nothing was tried";
  for (std::byte* one : kept) ASSERT_TRUE(shared_heap_free(one).is_ok());
}

TEST_F(RailMemoryTest, WhatIsRememberedIsBoundedAndGoesWhenItWasFreed) {
  std::vector<std::byte*> allocations;
  for (int i = 0; i < 100; ++i) {
    allocations.push_back(allocate(4096));
    use(allocations.back(), 4096);
  }
  EXPECT_EQ(first_.locked, 64u * 4096);
  use(allocations.back(), 4096);
  EXPECT_EQ(first_.made, 100u);  // the last ones are those that are kept
  for (std::byte* one : allocations) ASSERT_TRUE(shared_heap_free(one).is_ok());
  std::byte* const next = allocate(4096);
  use(next, 4096);
  EXPECT_EQ(first_.locked, 4096u);
  ASSERT_TRUE(shared_heap_free(next).is_ok());
}

TEST_F(RailMemoryTest, WhatTheCallerRegisteredStaysUntilHeTakesItBack) {
  std::vector<std::byte> buffer(kBytes);
  ASSERT_TRUE(memory_.keep(buffer.data(), kBytes).is_ok());
  use(buffer.data() + 10, 100);
  EXPECT_EQ(first_.made, 1u);
  memory_.release(buffer.data());
  EXPECT_EQ(first_.locked, 0u);
  use(buffer.data() + 10, 100);
  EXPECT_EQ(first_.made, 2u);
}

TEST_F(RailMemoryTest, WhatIsOnlyRememberedMakesRoom) {
  std::byte* const memory = allocate();
  use(memory, kBytes);
  first_.limit = first_.locked + 1000;
  std::vector<std::byte> buffer(kBytes);
  const RemoteBuffer remote = use(buffer.data(), kBytes);
  EXPECT_NE(remote.rail_keys[0], 0u);
  ASSERT_TRUE(shared_heap_free(memory).is_ok());
}

TEST_F(RailMemoryTest, ARailThatRefusesIsNotUsedAndAllOfThemAreAnErrorThatNamesThem) {
  std::vector<std::byte> buffer(kBytes);
  first_.limit = 0;
  const RemoteBuffer remote = use(buffer.data(), kBytes);
  EXPECT_EQ(remote.rail_keys[0], 0u);
  EXPECT_NE(remote.rail_keys[1], 0u);
  second_.limit = 0;
  const auto refused = memory_.acquire(buffer.data(), kBytes);
  ASSERT_FALSE(refused);
  EXPECT_THAT(std::string(refused.error().message()), HasSubstr("counted: 100000 bytes"));
}

}  // namespace
}  // namespace railccl
