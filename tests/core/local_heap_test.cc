// Memory: the shared heap from both sides, buffers of other processes, scratch, and how a segment
// that is not the right one is refused.
#include "src/core/local_heap.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "src/core/local_memory_file.h"
#include "src/core/local_peer_memory.h"
#include "tests/core/local_harness.h"

namespace railccl {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr RanksAs kBoth[] = {RanksAs::kThreads, RanksAs::kProcesses};

std::byte* allocate(size_t bytes) {
  return static_cast<std::byte*>(shared_heap_allocate(bytes).value_or(nullptr));
}

std::byte pattern(int rank, size_t i) {
  return static_cast<std::byte>(static_cast<size_t>(rank) * 31 + i * 7 + i / 251);
}

void fill(std::byte* data, size_t bytes, int rank) {
  for (size_t i = 0; i < bytes; ++i) data[i] = pattern(rank, i);
}

bool filled(const std::byte* data, size_t bytes, int rank, size_t first = 0) {
  for (size_t i = 0; i < bytes; ++i) {
    if (data[i] != pattern(rank, first + i)) return false;
  }
  return true;
}

// Shows a buffer to all, and waits until all have shown theirs / have finished with ours.
std::string show(LocalDomain& domain, uint64_t sequence, const BufferHandle& input, int ranks) {
  (void)domain.publish({.sequence = sequence, .input = input});
  for (int peer = 0; peer < ranks; ++peer) {
    if (!wait_until(domain, WaitHow::kFutex,
                    [&] { return domain.ready(peer, sequence) != nullptr; })) {
      return fmt::format("rank {} did not show its buffer", peer);
    }
  }
  return {};
}

std::string barrier(LocalDomain& domain, uint64_t sequence, int ranks) {
  return show(domain, sequence, {}, ranks);
}

TEST(SharedHeap, WhatOneRankWritesOthersReadAndTheOtherWayRound) {
  constexpr size_t kBytes = 3 * kHugePageBytes + 12345;
  for (const RanksAs as : kBoth) {
    const auto texts =
        run_ranks({.ranks = 3, .as = as}, [](LocalDomain& domain, int rank) -> std::string {
          std::byte* const mine = allocate(kBytes);
          if (mine == nullptr) return "no memory";
          fill(mine, kBytes, rank);
          const int next = (rank + 1) % 3;
          if (auto text = show(domain, 1, LocalDomain::handle_of(mine + 100, kBytes - 100), 3);
              !text.empty()) {
            return text;
          }
          const BufferHandle theirs = domain.ready(next, 1)->input;
          if (theirs.kind != BufferHandle::Kind::kShared) return "not in the shared heap";
          std::byte* const mapped = domain.map(next, theirs);
          if (mapped == nullptr) return "not mapped";
          if (domain.map(next, theirs) != mapped) return "mapped again";
          if (!filled(mapped, kBytes - 100, next, 100)) return "read something else";
          if (auto text = barrier(domain, 2, 3); !text.empty()) return text;
          fill(mapped, 1000, rank + 100);
          if (auto text = barrier(domain, 3, 3); !text.empty()) return text;
          if (!filled(mine + 100, 1000, (rank + 2) % 3 + 100)) return "the write did not arrive";
          domain.finish(3);
          const Status freed = shared_heap_free(mine);
          return std::string(freed.message());
        });
    EXPECT_THAT(texts, Each(IsEmpty()));
  }
}

TEST(SharedHeap, FreedMemoryIsRefusedAndItsPlaceCanBeUsedAgain) {
  const auto texts = run_ranks(
      {.ranks = 2, .as = RanksAs::kProcesses}, [](LocalDomain& domain, int rank) -> std::string {
        for (uint64_t round = 0; round < 20; ++round) {
          const size_t bytes = 5000 * (round + 1);
          std::byte* const mine = allocate(bytes);
          fill(mine, bytes, rank + static_cast<int>(round));
          if (auto text = show(domain, 2 * round + 1, LocalDomain::handle_of(mine, bytes), 2);
              !text.empty()) {
            return text;
          }
          const BufferHandle theirs = domain.ready(1 - rank, 2 * round + 1)->input;
          const std::byte* const mapped = domain.map(1 - rank, theirs);
          if (mapped == nullptr) return "not mapped";
          if (!filled(mapped, bytes, 1 - rank + static_cast<int>(round))) return "stale data";
          if (auto text = barrier(domain, 2 * round + 2, 2); !text.empty()) return text;
          if (!shared_heap_free(mine)) return "not freed";
          domain.finish(2 * round + 2);
          std::byte byte{};
          if (!wait_until(domain, WaitHow::kYield,
                          [&] { return domain.map(1 - rank, theirs) == nullptr; })) {
            return "freed memory is still mapped";
          }
          const Status copied = domain.copy_from(1 - rank, theirs, 0, &byte, 1);
          if (copied) return "freed memory was read";
        }
        return {};
      });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

TEST(SharedHeap, FreeingGivesTheMemoryBackAlsoWhereOthersHaveItMapped) {
  constexpr size_t kBytes = 8 << 20;
  std::byte* const mine = allocate(kBytes);
  ASSERT_NE(mine, nullptr);
  fill(mine, kBytes, 1);
  const BufferHandle handle = LocalDomain::handle_of(mine, kBytes);
  Result<UniqueFd> other = open_memory_file(handle.pid, heap_fd(handle.segment), "the heap");
  ASSERT_TRUE(other.has_value());
  struct stat status {};
  ASSERT_EQ(fstat(other->get(), &status), 0);
  EXPECT_GE(static_cast<size_t>(status.st_blocks) * 512, kBytes);
  ASSERT_TRUE(shared_heap_free(mine));
  ASSERT_EQ(fstat(other->get(), &status), 0);
  EXPECT_LE(static_cast<size_t>(status.st_blocks) * 512, kPageBytes);
}

TEST(SharedHeap, HandlesSayWhereABufferIs) {
  std::byte* const memory = allocate(10'000);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 4096, 0u);
  EXPECT_TRUE(std::all_of(memory, memory + 10'000, [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_EQ(LocalDomain::handle_of(memory, 0).kind, BufferHandle::Kind::kNone);
  const BufferHandle inside = LocalDomain::handle_of(memory + 9'000, 1'000);
  EXPECT_EQ(inside.kind, BufferHandle::Kind::kShared);
  EXPECT_EQ(inside.offset, 9'000u);
  EXPECT_EQ(inside.bytes, 1'000u);
  EXPECT_EQ(LocalDomain::handle_of(memory - 1, 10).kind, BufferHandle::Kind::kProcess);
  EXPECT_EQ(LocalDomain::handle_of(memory, 1 << 20).kind, BufferHandle::Kind::kProcess);
  EXPECT_EQ(LocalDomain::handle_of(&inside, 1).kind, BufferHandle::Kind::kProcess);
  ASSERT_TRUE(shared_heap_free(memory));
  EXPECT_EQ(LocalDomain::handle_of(memory, 1).kind, BufferHandle::Kind::kProcess);
}

TEST(SharedHeap, WrongFreesAreRefused) {
  EXPECT_TRUE(shared_heap_free(nullptr));
  int other = 0;
  EXPECT_EQ(shared_heap_free(&other).code(), Code::kInvalidArgument);
  std::byte* const memory = allocate(5000);
  EXPECT_EQ(shared_heap_free(memory + 4096).code(), Code::kInvalidArgument);
  EXPECT_TRUE(shared_heap_free(memory));
  EXPECT_EQ(shared_heap_free(memory).code(), Code::kInvalidArgument);
  EXPECT_EQ(shared_heap_allocate(0).value_or(&other), nullptr);
}

TEST(SharedHeap, ManyGigabytesCostNothingUntilTouched) {
  std::byte* const memory = allocate(size_t{64} << 30);
  ASSERT_NE(memory, nullptr);
  memory[(size_t{64} << 30) - 1] = std::byte{7};
  EXPECT_TRUE(shared_heap_free(memory));
}

TEST(SharedHeap, AFileSizeLimitIsAnErrorNotASignal) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit low{.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  const Result<void*> memory = shared_heap_allocate(2 << 20);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_FALSE(memory.has_value());
  EXPECT_THAT(std::string(memory.error().message()), HasSubstr("ulimit -f"));
}

TEST(LocalMemory, BuffersOfOtherRanksAreReachedDirectlyOrByAttaching) {
  for (const RanksAs as : kBoth) {
    const auto texts =
        run_ranks({.ranks = 2, .as = as}, [&](LocalDomain& domain, int rank) -> std::string {
          std::vector<std::byte> mine(100'000);
          fill(mine.data(), mine.size(), rank);
          if (auto text = show(domain, 1, LocalDomain::handle_of(mine.data(), mine.size()), 2);
              !text.empty()) {
            return text;
          }
          const BufferHandle theirs = domain.ready(1 - rank, 1)->input;
          std::byte* const mapped = domain.map(1 - rank, theirs);
          if ((mapped != nullptr) != (as == RanksAs::kThreads)) return "map() is wrong";
          if (!domain.can_attach()) return "cannot attach to a process of the same user";
          std::vector<std::byte> copy(50'000);
          const Status read = domain.copy_from(1 - rank, theirs, 40'000, copy.data(), copy.size());
          if (!read) return std::string(read.message());
          if (!filled(copy.data(), copy.size(), 1 - rank, 40'000)) return "read something else";
          if (auto text = barrier(domain, 2, 2); !text.empty()) return text;
          fill(copy.data(), copy.size(), 50 + rank);
          const Status written = domain.copy_to(1 - rank, theirs, 50'000, copy.data(), 50'000);
          if (!written) return std::string(written.message());
          if (auto text = barrier(domain, 3, 2); !text.empty()) return text;
          if (!filled(mine.data() + 50'000, 50'000, 50 + 1 - rank)) return "wrote something else";
          if (!filled(mine.data(), 50'000, rank)) return "wrote elsewhere";
          const Status outside = domain.copy_from(1 - rank, theirs, 90'000, copy.data(), 10'001);
          return outside.code() == Code::kInternalError ? "" : "read outside the buffer";
        });
    EXPECT_THAT(texts, Each(IsEmpty()));
  }
}

TEST(LocalMemory, ABufferThatIsNotThereIsAnError) {
  const auto texts = run_ranks(
      {.ranks = 2, .as = RanksAs::kProcesses}, [](LocalDomain& domain, int rank) -> std::string {
        const BufferHandle nowhere{.kind = BufferHandle::Kind::kProcess,
                                   .pid = static_cast<uint32_t>(getpid()),
                                   .offset = 64,
                                   .bytes = 64};
        if (auto text = show(domain, 1, nowhere, 2); !text.empty()) return text;
        std::byte bytes[64];
        const Status read =
            domain.copy_from(1 - rank, domain.ready(1 - rank, 1)->input, 0, bytes, 64);
        if (read.code() != Code::kSystemError) return "read from nowhere";
        return barrier(domain, 2, 2);
      });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

TEST(LocalMemory, ScratchIsSharedPageAlignedAndApart) {
  constexpr size_t kScratch = 100'000;
  for (const RanksAs as : kBoth) {
    const auto texts = run_ranks({.ranks = 3, .as = as, .scratch_bytes = kScratch},
                                 [](LocalDomain& domain, int rank) -> std::string {
                                   fill(domain.scratch(rank), kScratch, rank);
                                   if (auto text = barrier(domain, 1, 3); !text.empty())
                                     return text;
                                   for (int peer = 0; peer < 3; ++peer) {
                                     const std::byte* const theirs = domain.scratch(peer);
                                     if (reinterpret_cast<uintptr_t>(theirs) % 4096 != 0) {
                                       return "not page aligned";
                                     }
                                     if (!filled(theirs, kScratch, peer)) return "overlap";
                                   }
                                   return {};
                                 });
    EXPECT_THAT(texts, Each(IsEmpty()));
  }
}

LocalDomainOptions two_ranks(int index) {
  return {.index = index, .ranks = {0, 1}, .scratch_bytes = 4096};
}

std::string refusal(const LocalDomainOptions& options, const LocalSegmentName& name) {
  const auto domain = LocalDomain::attach(options, name);
  return domain ? "not refused" : std::string(domain.error().message());
}

TEST(LocalSegment, AnotherFileThanTheRightOneIsRefused) {
  const auto domain = LocalDomain::create(two_ranks(0));
  ASSERT_TRUE(domain.has_value());
  const LocalSegmentName right = (*domain)->name();
  LocalSegmentName wrong = right;
  wrong.token[1] ^= 1;
  EXPECT_THAT(refusal(two_ranks(1), wrong), HasSubstr("token differs"));

  wrong.fd = open("/dev/null", O_RDWR);
  EXPECT_THAT(refusal(two_ranks(1), wrong), HasSubstr("not shared memory at all"));
  ASSERT_EQ(close(wrong.fd), 0);
  EXPECT_THAT(refusal(two_ranks(1), wrong), HasSubstr("RAILCCL_SHM_DISABLE"));

  wrong.fd = memfd_create("stranger", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(wrong.fd, 1 << 20), 0);
  EXPECT_THAT(refusal(two_ranks(1), wrong), HasSubstr("RAILCCL_HOSTID"));
  ASSERT_EQ(close(wrong.fd), 0);

  LocalDomainOptions other = two_ranks(1);
  other.scratch_bytes = 1 << 20;
  EXPECT_THAT(refusal(other, right), HasSubstr("4096 bytes of scratch"));
  EXPECT_TRUE(LocalDomain::attach(two_ranks(1), right).has_value());
}

TEST(LocalSegment, AProcessThatForbidsItIsAnErrorThatSaysSo) {
  const auto domain = LocalDomain::create(two_ranks(0));
  ASSERT_TRUE(domain.has_value());
  const LocalSegmentName name = (*domain)->name();
  ASSERT_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
  int answer[2];
  ASSERT_EQ(pipe(answer), 0);
  const pid_t child = fork();
  if (child == 0) {
    // Root may open anything.
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(1);
    const auto file = open_memory_file(name.pid, name.fd, "a test's memory");
    const std::string text = file ? "opened" : std::string(file.error().message());
    _exit(write(answer[1], text.data(), text.size()) > 0 ? 0 : 1);
  }
  close(answer[1]);
  char text[1024] = {};
  EXPECT_GT(read(answer[0], text, sizeof text - 1), 0);
  close(answer[0]);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  ASSERT_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
  EXPECT_THAT(std::string(text), HasSubstr("same user"));
  EXPECT_THAT(std::string(text), HasSubstr("RAILCCL_SHM_DISABLE"));
}

// From here on this process may not attach to others.
void forbid_attaching() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = static_cast<unsigned short>(std::size(program)),
                          .filter = program};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

TEST(LocalMemory, IfOneRankMayNotAttachAllKnow) {
  const auto texts = run_ranks(
      {.ranks = 3,
       .as = RanksAs::kProcesses,
       .before =
           [](int rank) {
             if (rank == 1) forbid_attaching();
           }},
      [](LocalDomain& domain, int rank) -> std::string {
        if (domain.can_attach()) return "believes that all can attach";
        std::byte byte{};
        if (auto text = show(domain, 1, LocalDomain::handle_of(&byte, 1), 3); !text.empty()) {
          return text;
        }
        const int next = (rank + 1) % 3;
        const Status read = domain.copy_from(next, domain.ready(next, 1)->input, 0, &byte, 1);
        const std::string text = barrier(domain, 2, 3);
        if (rank != 1) return text + std::string(read.message());
        const bool clear = read.message().find("ptrace_scope or seccomp") != std::string::npos;
        return clear ? text : "no reason: " + std::string(read.message());
      });
  EXPECT_THAT(texts, Each(IsEmpty()));
}

int open_descriptors() {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST(LocalSegment, NothingIsLeftOpen) {
  const auto round = [] {
    return run_ranks({.ranks = 4}, [](LocalDomain& domain, int rank) -> std::string {
      if (!domain.wake_fd()) return "no descriptor";
      std::byte* const memory = allocate(1000);
      if (auto text = show(domain, 1, LocalDomain::handle_of(memory, 1000), 4); !text.empty()) {
        return text;
      }
      if (domain.map((rank + 1) % 4, domain.ready((rank + 1) % 4, 1)->input) == nullptr) {
        return "not mapped";
      }
      if (auto text = barrier(domain, 2, 4); !text.empty()) return text;
      return std::string(shared_heap_free(memory).message());
    });
  };
  EXPECT_THAT(round(), Each(IsEmpty()));
  const int before = open_descriptors();
  EXPECT_THAT(round(), Each(IsEmpty()));
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace railccl
