#include "src/base/mapped_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace railccl {
namespace {

bool is_mapped(const void* address) {
  unsigned char resident = 0;
  return mincore(const_cast<void*>(address), page_bytes(), &resident) == 0;
}

TEST(MappedMemory, IsZeroedAndUnmapsItself) {
  const std::byte* address = nullptr;
  {
    const MappedMemory memory = MappedMemory::anonymous(3 * page_bytes()).value();
    address = memory.data();
    EXPECT_EQ(memory.bytes(), 3 * page_bytes());
    EXPECT_TRUE(std::all_of(address, address + memory.bytes(),
                            [](std::byte value) { return value == std::byte{0}; }));
  }
  EXPECT_FALSE(is_mapped(address));
}

TEST(MappedMemory, MovesItsOwnership) {
  MappedMemory first = MappedMemory::anonymous(page_bytes()).value();
  MappedMemory second = MappedMemory::anonymous(page_bytes()).value();
  const std::byte* const kept = first.data();
  const std::byte* const dropped = second.data();
  second = std::move(first);
  EXPECT_EQ(second.data(), kept);
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): the state after a move is promised
  EXPECT_TRUE(is_mapped(kept));
  EXPECT_FALSE(is_mapped(dropped));
}

TEST(MappedMemory, SharesAFileBetweenMappings) {
  const UniqueFd file = create_memfd("railccl-test", 2 * page_bytes()).value();
  const MappedMemory whole = MappedMemory::shared(file, 2 * page_bytes()).value();
  const MappedMemory half =
      MappedMemory::shared(file, page_bytes(), page_bytes(), MappedMemory::Access::kRead).value();
  whole.data()[page_bytes() + 5] = std::byte{42};
  EXPECT_EQ(half.data()[5], std::byte{42});
}

TEST(MappedMemory, SealsTheSizeOfAMemoryFile) {
  const UniqueFd file = create_memfd("railccl-test", page_bytes()).value();
  EXPECT_EQ(ftruncate(file.get(), 0), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(MappedMemory, ExplainsWhatItCannotDo) {
  EXPECT_EQ(MappedMemory::anonymous(0).error().code(), Code::kInvalidArgument);
  const auto huge = MappedMemory::anonymous(size_t{1} << 60);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code(), Code::kSystemError);
  EXPECT_THAT(std::string(huge.error().message()), testing::HasSubstr("cannot map"));
  const UniqueFd file = create_memfd("railccl-test", page_bytes()).value();
  EXPECT_EQ(MappedMemory::shared(file, 10, 1).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(create_memfd("railccl-test", ~size_t{0}).error().code(), Code::kInvalidArgument);
}

TEST(MappedMemory, RoundsToPages) {
  EXPECT_EQ(round_to_pages(0), 0u);
  EXPECT_EQ(round_to_pages(1), page_bytes());
  EXPECT_EQ(round_to_pages(page_bytes()), page_bytes());
  EXPECT_EQ(round_to_pages(page_bytes() + 1), 2 * page_bytes());
}

}  // namespace
}  // namespace railccl
