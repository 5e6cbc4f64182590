#include "src/base/status.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "src/base/path_pattern.h"
#include "src/base/unique_fd.h"

namespace railccl {
namespace {

Result<int> half_of(int value) {
  if (value % 2 != 0) return error(Code::kInvalidArgument, "{} is odd", value);
  return value / 2;
}

Status check_quarter(int value, int& quarter) {
  RAILCCL_ASSIGN(const int half, half_of(value));
  RAILCCL_ASSIGN(quarter, half_of(half));
  return Status::ok();
}

TEST(Status, PassesErrorsOnAndValuesThrough) {
  int quarter = 0;
  EXPECT_TRUE(check_quarter(12, quarter));
  EXPECT_EQ(quarter, 3);
  const Status status = check_quarter(6, quarter);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), "3 is odd");
  EXPECT_EQ(status.with_context("rank 1").message(), "rank 1: 3 is odd");
}

TEST(Status, OkHasNoTextAndStaysOk) {
  EXPECT_TRUE(Status::ok().with_context("rank 1").is_ok());
  EXPECT_TRUE(Status(Code::kOk, "text").is_ok());
  EXPECT_EQ(Status::ok().message(), "");
}

TEST(Status, LastsAsLongAsOneOfItsCopies) {
  Status first(Code::kTimeout, "a text too long to be kept in the string itself");
  Status second = first;
  const Status moved = std::move(first);
  EXPECT_TRUE(
      first.is_ok());  // NOLINT(bugprone-use-after-move): the state after a move is promised
  second = second;     // NOLINT(clang-diagnostic-self-assign-overloaded): on purpose
  EXPECT_EQ(second.message(), moved.message());
  second = Status(Code::kAborted, "another");
  EXPECT_EQ(second.code(), Code::kAborted);
  EXPECT_EQ(moved.code(), Code::kTimeout);
  EXPECT_EQ(moved.message(), "a text too long to be kept in the string itself");
}

TEST(Status, IsCopiedByManyThreads) {
  const Status status(Code::kTimeout, "a text too long to be kept in the string itself");
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([copy = status, &right] {
      for (int round = 0; round < 1000; ++round) {
        const Status mine = copy;
        right += mine.message() == "a text too long to be kept in the string itself" ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4000);
  EXPECT_EQ(status.code(), Code::kTimeout);
}

TEST(Status, NamesTheSystemsReason) {
  const Status status = system_error(ENOENT, "open /x");
  EXPECT_EQ(status.message(), "open /x: No such file or directory (errno 2)");
}

TEST(UniqueFd, ClosesOnceAndMoves) {
  UniqueFd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = first.get();
  ASSERT_GE(number, 0);
  UniqueFd second = std::move(first);
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): the state after a move is promised
  EXPECT_EQ(second.get(), number);
  second.reset();
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

TEST(PathPattern, ExpandsHostAndProcess) {
  EXPECT_EQ(expand_path("/tmp/a.%h.%p"), fmt::format("/tmp/a.{}.{}", host_name(), getpid()));
  EXPECT_EQ(expand_path("100%%"), "100%");
  EXPECT_EQ(expand_path("%x%"), "%x%");
  EXPECT_EQ(expand_path(""), "");
}

}  // namespace
}  // namespace railccl
