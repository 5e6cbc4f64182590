#include "src/base/settings_layers.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "src/base/settings_file.h"

namespace railccl {
namespace {

struct FilePlace {
  std::string path;
  std::string named_by;  // the variable that named it; empty: a usual place, may be missing
  bool ours = false;
};

std::vector<FilePlace> file_places(const SettingsSource& source) {
  const auto variable = [&](std::string_view name) { return source.variable(name).value_or(""); };
  const std::string home = variable("HOME");
  const std::string ours = variable("RAILCCL_CONF_FILE");
  const std::string nccls = variable("NCCL_CONF_FILE");
  std::vector<FilePlace> places;
  if (!ours.empty()) places.push_back({ours, "RAILCCL_CONF_FILE", true});
  if (!home.empty()) places.push_back({home + "/.railccl.conf", "", true});
  places.push_back({"/etc/railccl.conf", "", true});
  if (!nccls.empty()) {
    places.push_back({nccls, "NCCL_CONF_FILE", false});
  } else if (!home.empty()) {
    places.push_back({home + "/.nccl.conf", "", false});
  }
  places.push_back({"/etc/nccl.conf", "", false});
  return places;
}

SettingsLayer environment_layer(const SettingsSource& source, std::string_view prefix) {
  SettingsLayer layer;
  for (auto& [name, value] : source.variables(prefix)) {
    layer.emplace(name, SettingsEntry{std::move(value), fmt::format("environment {}", name)});
  }
  return layer;
}

// The first line that sets a name counts, as in NCCL.
SettingsLayer file_layer(const FilePlace& place, SettingsFile file,
                         std::vector<std::string>& warnings) {
  SettingsLayer layer;
  for (SettingsLine& line : file.lines) {
    const std::string origin = fmt::format("{}:{}", place.path, line.line);
    const auto [entry, added] =
        layer.emplace(line.name, SettingsEntry{std::move(line.value), origin});
    if (!added) {
      warnings.push_back(fmt::format("{}: {} was already set at {}; this line has no effect",
                                     origin, line.name, entry->second.origin));
    }
  }
  return layer;
}

// What is wrong with a file: an error in one of ours, a warning in one of NCCL's, which NCCL would
// pass over in silence.
Status complain(const FilePlace& place, std::string message, std::vector<std::string>& warnings) {
  if (place.ours) return Status(Code::kInvalidUsage, std::move(message));
  warnings.push_back(std::move(message));
  return Status::ok();
}

Status add_file(const SettingsSource& source, const FilePlace& place, SettingsLayers& result) {
  const Result<std::optional<std::string>> text = source.file(place.path);
  if (!text) return complain(place, std::string(text.error().message()), result.warnings);
  if (!*text) {
    if (place.named_by.empty()) return Status::ok();
    return complain(
        place, fmt::format("{} names {}, and there is no such file", place.named_by, place.path),
        result.warnings);
  }
  SettingsFile file = parse_settings_file(place.path, **text);
  for (std::string& problem : file.problems) {
    RAILCCL_TRY(complain(place, std::move(problem), result.warnings));
  }
  result.layers.push_back(file_layer(place, std::move(file), result.warnings));
  return Status::ok();
}

}  // namespace

Result<SettingsLayers> collect_settings(const SettingsSource& source) {
  SettingsLayers result;
  result.layers.push_back(environment_layer(source, "RAILCCL_"));
  result.layers.push_back(environment_layer(source, "NCCL_"));
  for (const FilePlace& place : file_places(source)) {
    RAILCCL_TRY(add_file(source, place, result));
  }
  return result;
}

}  // namespace railccl
