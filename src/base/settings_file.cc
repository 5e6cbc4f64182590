#include "src/base/settings_file.h"

#include <fmt/format.h>

#include "src/base/setting_value.h"

namespace railccl {
namespace {

std::string_view without_comment(std::string_view line) {
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) {
      return line.substr(0, i);
    }
  }
  return line;
}

}  // namespace

SettingsFile parse_settings_file(std::string_view path, std::string_view text) {
  SettingsFile file;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(without_comment(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    const size_t equals = line.find('=');
    const std::string_view name = trimmed(line.substr(0, equals));
    if (equals == std::string_view::npos || name.empty()) {
      file.problems.push_back(
          fmt::format("{}:{}: '{}' is no line of the form NAME=value", path, number, line));
      continue;
    }
    file.lines.push_back(
        {std::string(name), std::string(trimmed(line.substr(equals + 1))), number});
  }
  return file;
}

}  // namespace railccl
