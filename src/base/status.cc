#include "src/base/status.h"

#include <cerrno>
#include <cstring>

namespace railccl {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kInvalidUsage:
      return "invalid usage";
    case Code::kSystemError:
      return "system error";
    case Code::kInternalError:
      return "internal error";
    case Code::kMismatch:
      return "mismatched call";
    case Code::kBackPressure:
      return "back-pressure";
    case Code::kRailFailed:
      return "rail failed";
    case Code::kPeerFailed:
      return "peer failed";
    case Code::kTimeout:
      return "timeout";
    case Code::kAborted:
      return "aborted";
    case Code::kDeviceError:
      return "device error";
  }
  return "unknown code";
}

Status::Status(Code code, std::string message) {
  if (code != Code::kOk) detail_ = new Detail{.code = code, .message = std::move(message)};
}

void Status::retain() const { detail_->holders.fetch_add(1, std::memory_order_relaxed); }

void Status::release() const {
  if (detail_->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) delete detail_;
}

const Status& Status::back_pressure() {
  // Never destroyed: rails may be driven while the process exits.
  static const auto& status =
      *new Status(Code::kBackPressure, "no room now, try again after progress");
  return status;
}

Status Status::in_context(std::string_view context) const {
  return Status(code(), fmt::format("{}: {}", context, message()));
}

Error system_error(int errno_value, std::string_view what) {
  char text[128];
  const char* reason = strerror_r(errno_value, text, sizeof text);
  return error(Code::kSystemError, "{}: {} (errno {})", what, reason, errno_value);
}

}  // namespace railccl
