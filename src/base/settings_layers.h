// Everything that is set, in layers from the strongest to the weakest: the environment's RAILCCL_
// and NCCL_ variables, then the files. What settings.cc chooses values from.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "src/base/settings_source.h"
#include "src/base/status.h"

namespace railccl {

struct SettingsEntry {
  std::string value;
  std::string origin;
};

// Variables by their full name.
using SettingsLayer = std::map<std::string, SettingsEntry, std::less<>>;

struct SettingsLayers {
  std::vector<SettingsLayer> layers;
  std::vector<std::string> warnings;
};

// Errors: a file of ours that cannot be read, that RAILCCL_CONF_FILE names and is not there, or
// that has a line which is none. The same in a file of NCCL's is a warning.
Result<SettingsLayers> collect_settings(const SettingsSource& source);

}  // namespace railccl
