// Puts a prefix before every line of a stream of bytes that comes in pieces. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace railccl::perftest {

class LinePrefixer {
 public:
  explicit LinePrefixer(std::string prefix) : prefix_(std::move(prefix)) {}

  // The lines that `piece` completes, prefixed.
  std::string add(std::string_view piece) {
    std::string complete;
    for (const char c : piece) {
      line_ += c;
      if (c == '\n') complete += take();
    }
    return complete;
  }
  // An unfinished last line, with its newline.
  std::string finish() {
    if (line_.empty()) return {};
    line_ += '\n';
    return take();
  }

 private:
  std::string take() { return prefix_ + std::exchange(line_, {}); }
  std::string prefix_;
  std::string line_;
};

}  // namespace railccl::perftest
