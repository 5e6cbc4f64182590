// Status and Result<T>: errors as values. Any thread may create and pass them; no function of
// RailCCL throws for what a caller, the environment, a peer or a NIC can cause. The code that
// detects an error builds the Status with the exact cause (rank, peer, rail, value) and logs it
// once; everyone else passes it on.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace railccl {

enum class Code : uint8_t {
  kOk = 0,
  kInvalidArgument,  // one argument of a call is wrong by itself
  kInvalidUsage,     // the call, setting or order of calls is wrong, or not supported
  kSystemError,      // the operating system refused (errno is in the message)
  kInternalError,    // a bug of this library
  kMismatch,         // ranks called different things
  kBackPressure,     // not an error: try again after progress
  kRailFailed,       // one rail of several is unusable
  kPeerFailed,       // a peer process or host is gone, or no rail to it is left
  kTimeout,          // a configured time passed
  kAborted,          // the communicator was aborted or revoked here
  kDeviceError,      // the GPU's driver refused
};

std::string_view code_name(Code code);

// A success, or a code with a text that says what happened, to whom, and the way out. Cheap to
// copy; a success allocates nothing and is a null pointer, and what failures need stands apart from
// the code that succeeds.
class [[nodiscard]] Status {
 public:
  Status() = default;
  [[gnu::cold]] Status(Code code, std::string message);
  Status(const Status& other) : detail_(other.detail_) {
    if (detail_ != nullptr) [[unlikely]]
      retain();
  }
  Status(Status&& other) noexcept : detail_(std::exchange(other.detail_, nullptr)) {}
  Status& operator=(Status other) noexcept {
    std::swap(detail_, other.detail_);
    return *this;
  }
  ~Status() {
    if (detail_ != nullptr) [[unlikely]]
      release();
  }

  static Status ok() { return {}; }
  // Always the same one: who tries again after progress makes no text each time.
  static const Status& back_pressure();

  bool is_ok() const { return detail_ == nullptr; }
  explicit operator bool() const { return is_ok(); }
  Code code() const { return is_ok() ? Code::kOk : detail_->code; }
  std::string_view message() const { return is_ok() ? std::string_view() : detail_->message; }
  // The same error with `context` and ": " before its text; a success stays a success.
  Status with_context(std::string_view context) const {
    return is_ok() ? Status() : in_context(context);
  }

 private:
  struct Detail {
    Code code;
    std::string message;
    std::atomic<uint32_t> holders{1};
  };
  [[gnu::cold]] Status in_context(std::string_view context) const;
  [[gnu::cold]] void retain() const;
  [[gnu::cold]] void release() const;

  Detail* detail_ = nullptr;
};

template <typename T>
using Result = tl::expected<T, Status>;

// Builds the error side of a Result: `return error(Code::kTimeout, "rank {} ...", rank);`. It also
// converts to Status, so that the same line serves in both kinds of function.
class [[nodiscard]] Error {
 public:
  explicit Error(Status status) : status_(std::move(status)) {}
  operator Status() const { return status_; }
  template <typename T>
  operator Result<T>() const {
    return tl::unexpected<Status>(status_);
  }

 private:
  Status status_;
};

template <typename... Args>
[[gnu::cold]] Error error(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Error(Status(code, fmt::format(format, std::forward<Args>(args)...)));
}

// "what: strerror (errno N)" for a failed system call; reads errno_value, not errno.
[[gnu::cold]] Error system_error(int errno_value, std::string_view what);

}  // namespace railccl

// Returns the error of a Status or Result expression to the caller, if there is one.
#define RAILCCL_TRY(expression)                                                                   \
  do {                                                                                            \
    if (const ::railccl::Status& railccl_status_ = (expression); !railccl_status_) [[unlikely]] { \
      return ::railccl::Error(railccl_status_);                                                   \
    }                                                                                             \
  } while (false)

#define RAILCCL_CONCAT_INNER_(a, b) a##b
#define RAILCCL_CONCAT_(a, b) RAILCCL_CONCAT_INNER_(a, b)

// `RAILCCL_ASSIGN(auto fd, open_socket(...));`: declares or assigns the value, or returns the
// error.
#define RAILCCL_ASSIGN(target, expression) \
  RAILCCL_ASSIGN_IMPL_(RAILCCL_CONCAT_(railccl_result_, __LINE__), target, expression)
#define RAILCCL_ASSIGN_IMPL_(result, target, expression) \
  auto result = (expression);                            \
  if (!result) [[unlikely]]                              \
    return ::railccl::Error(std::move(result).error());  \
  target = std::move(*result)
