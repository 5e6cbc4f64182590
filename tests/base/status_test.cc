#include "src/base/status.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>

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
