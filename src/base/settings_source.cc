#include "src/base/settings_source.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to us

namespace railccl {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;

class ProcessSource final : public SettingsSource {
 public:
  std::optional<std::string> variable(std::string_view name) const override {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  }

  std::vector<std::pair<std::string, std::string>> variables(
      std::string_view prefix) const override {
    std::vector<std::pair<std::string, std::string>> found;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      const std::string_view text(*entry);
      const size_t equals = text.find('=');
      if (equals == std::string_view::npos || !text.starts_with(prefix)) continue;
      found.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  Result<std::optional<std::string>> file(const std::string& path) const override {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                               &std::fclose);
    if (!file) {
      if (errno == ENOENT || errno == ENOTDIR) return std::optional<std::string>();
      return system_error(errno, fmt::format("cannot read {}", path));
    }
    std::string text(kMaxFileBytes + 1, '\0');
    errno = 0;
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get()) != 0) {
      return system_error(errno, fmt::format("cannot read {}", path));
    }
    if (text.size() > kMaxFileBytes) {
      return error(Code::kInvalidUsage, "{} is larger than {} bytes: not a file of settings", path,
                   kMaxFileBytes);
    }
    return std::optional<std::string>(std::move(text));
  }
};

}  // namespace

const SettingsSource& process_settings_source() {
  static const ProcessSource* const source = new ProcessSource;
  return *source;
}

std::optional<std::string> FixedSettingsSource::variable(std::string_view name) const {
  const auto found = variables_.find(name);
  if (found == variables_.end()) return std::nullopt;
  return found->second;
}

std::vector<std::pair<std::string, std::string>> FixedSettingsSource::variables(
    std::string_view prefix) const {
  std::vector<std::pair<std::string, std::string>> found;
  for (auto it = variables_.lower_bound(prefix);
       it != variables_.end() && it->first.starts_with(prefix); ++it) {
    found.emplace_back(*it);
  }
  return found;
}

Result<std::optional<std::string>> FixedSettingsSource::file(const std::string& path) const {
  const auto found = files_.find(path);
  if (found == files_.end()) return std::optional<std::string>();
  return std::optional<std::string>(found->second);
}

}  // namespace railccl
