// How the perftest programs say that something failed: a sentence and the exit code. The codes are
// those of nccl-tests, so that scripts around it go on working. Any thread.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace railccl::perftest {

enum class Exit : int {
  kSuccess = 0,
  kUsage = 1,    // the command line, or what it asks of this machine
  kCuda = 2,     // a call of the CUDA driver failed
  kLibrary = 3,  // a call of the library failed
  kTimeout = 4,  // -T passed
  kWrong = 7,    // wrong elements, or bandwidth below NCCL_TESTS_MIN_BW
};

struct Failure {
  Exit exit = Exit::kUsage;
  std::string message;
};

template <typename T>
using Outcome = tl::expected<T, Failure>;

template <typename... Args>
tl::unexpected<Failure> failure(Exit exit, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Failure>(Failure{exit, fmt::format(format, std::forward<Args>(args)...)});
}

}  // namespace railccl::perftest

// Returns the failure of an Outcome<void> to the caller, if there is one.
#define PERFTEST_TRY(expression)                          \
  do {                                                    \
    if (auto outcome_ = (expression); !outcome_)          \
      return tl::unexpected(std::move(outcome_).error()); \
  } while (false)
