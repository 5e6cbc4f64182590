#include "src/base/path_pattern.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>

namespace railccl {

namespace {

std::string expand(std::string_view pattern, const int* rank) {
  std::string path;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char next = pattern[i] == '%' && i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    switch (next) {
      case 'h':
        path += host_name();
        break;
      case 'p':
        path += fmt::format("{}", getpid());
        break;
      case '%':
        path += '%';
        break;
      case 'r':
        path += rank == nullptr ? std::string("%r") : fmt::format("{}", *rank);
        break;
      default:
        path += pattern[i];
        continue;
    }
    ++i;
  }
  return path;
}

}  // namespace

std::string expand_path(std::string_view pattern) { return expand(pattern, nullptr); }
std::string expand_path(std::string_view pattern, int rank) { return expand(pattern, &rank); }

const std::string& host_name() {
  static const std::string* const name = [] {
    std::array<char, 256> text{};
    if (gethostname(text.data(), text.size() - 1) != 0 || text[0] == '\0') {
      return new std::string("unknown");
    }
    const std::string_view full(text.data());
    return new std::string(full.substr(0, full.find('.')));
  }();
  return *name;
}

}  // namespace railccl
