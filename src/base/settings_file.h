// The text of a settings file: NAME=value lines, `#` comments (a whole line, or after white space).
// Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace railccl {

struct SettingsLine {
  std::string name;
  std::string value;
  int line = 0;  // from 1
};

struct SettingsFile {
  std::vector<SettingsLine> lines;
  // Lines without '=' or without a name, as messages "PATH:LINE: ...".
  std::vector<std::string> problems;
};

SettingsFile parse_settings_file(std::string_view path, std::string_view text);

}  // namespace railccl
