// Fuzz target: the environment and the configuration file.
#include <algorithm>
#include <string>

#include "src/base/settings.h"
#include "src/base/settings_source.h"
#include "src/core/algorithm_choice.h"
#include "tests/fuzz/target.h"

namespace railccl::fuzz {

// Lines "NAME=value" before an empty one are the environment, the rest is the file.
void settings(Bytes input) {
  std::string_view text = as_text(input);
  FixedSettingsSource::Map variables;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.empty()) break;
    const size_t equals = std::min(line.find('='), line.size());
    const std::string_view value = line.substr(std::min(equals + 1, line.size()));
    variables[std::string(line.substr(0, equals))] = std::string(value);
    (void)parse_algorithm_choice(value).has_value();
  }
  variables["RAILCCL_CONF_FILE"] = "/conf";
  const FixedSettingsSource source(variables, {{"/conf", std::string(text)}});
  const auto loaded = load_settings(source);
  if (loaded) return;
  require(!loaded.error().message().empty(), "an error without a text");
}

}  // namespace railccl::fuzz
