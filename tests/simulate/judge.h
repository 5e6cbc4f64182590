// Holds the first violation of an invariant that a run has met. One thread.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "src/base/clock.h"

namespace railccl::simulate {

class Judge {
 public:
  template <typename... Args>
  void violation(TimeNs now, fmt::format_string<Args...> format, Args&&... args) {
    if (!text_.empty()) return;
    text_ = fmt::format("at {:.1f} us: ", static_cast<double>(now) / 1e3) +
            fmt::format(format, std::forward<Args>(args)...);
  }
  bool violated() const { return !text_.empty(); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace railccl::simulate
