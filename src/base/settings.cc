#include "src/base/settings.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "src/base/setting_value.h"
#include "src/base/settings_layers.h"

namespace railccl {
namespace {

constexpr std::string_view kOurPrefix = "RAILCCL_";
constexpr std::string_view kNcclPrefix = "NCCL_";
// Other programs' names, which they check themselves.
constexpr std::array<std::string_view, 3> kForeignPrefixes = {"RAILCCL_TESTS_", "RAILCCL_LAB_",
                                                              "NCCL_TESTS_"};

Error bad_value_error(std::string_view variable, std::string_view origin,
                      std::string_view problem) {
  const std::string where = origin.find(variable) == std::string_view::npos
                                ? fmt::format("{} ({})", variable, origin)
                                : std::string(origin);
  return error(Code::kInvalidUsage, "{}: {}", where, problem);
}

struct Found {
  std::string variable;
  const SettingsEntry* entry = nullptr;
};

// An empty value counts as not set.
const SettingsEntry* look_up(const SettingsLayer& layer, std::string_view variable) {
  const auto found = layer.find(variable);
  return found == layer.end() || found->second.value.empty() ? nullptr : &found->second;
}

Found find_setting(const SettingsLayers& set, const SettingSpec& spec) {
  const std::string ours = fmt::format("{}{}", kOurPrefix, spec.name);
  const std::string nccls = fmt::format("{}{}", kNcclPrefix, spec.name);
  for (const SettingsLayer& layer : set.layers) {
    if (const SettingsEntry* entry = look_up(layer, ours)) return {ours, entry};
    if (spec.nccl == NcclName::kNone) continue;
    if (const SettingsEntry* entry = look_up(layer, nccls)) return {nccls, entry};
  }
  return {};
}

Result<SettingValue> choose_value(const SettingsLayers& set, const SettingSpec& spec) {
  const Found found = find_setting(set, spec);
  const std::string_view text = found.entry ? std::string_view(found.entry->value) : spec.fallback;
  Result<ParsedSetting> parsed = parse_setting(spec, text);
  if (!parsed) {
    if (!found.entry) return error(Code::kInternalError, "default of {}: {}", spec.name, text);
    return bad_value_error(found.variable, found.entry->origin, parsed.error().message());
  }
  return SettingValue{parsed->number, std::move(parsed->text),
                      found.entry ? found.entry->origin : "default", found.entry == nullptr};
}

const SettingSpec* find_spec(std::string_view name) {
  const auto& table = settings_table();
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const auto& spec) { return spec.name == name; });
  return found == table.end() ? nullptr : &*found;
}

// ", did you mean RAILCCL_X?", or nothing when no name is near.
std::string nearest_name(std::string_view name) {
  size_t best = std::max<size_t>(2, name.size() / 3) + 1;
  std::string_view nearest;
  for (const SettingSpec& spec : settings_table()) {
    const size_t distance = edit_distance(name, spec.name);
    if (distance < best) {
      best = distance;
      nearest = spec.name;
    }
  }
  if (nearest.empty()) return "; railccl_info --env lists all settings";
  return fmt::format("; did you mean {}{}?", kOurPrefix, nearest);
}

bool is_foreign(std::string_view variable) {
  return std::any_of(kForeignPrefixes.begin(), kForeignPrefixes.end(),
                     [&](std::string_view prefix) { return variable.starts_with(prefix); });
}

struct Remarks {
  std::vector<std::string> warnings;
  std::vector<std::string> without_effect;
};

void remark_on(std::string_view variable, const SettingsEntry& entry, Remarks& remarks) {
  if (is_foreign(variable)) return;
  const bool nccls = variable.starts_with(kNcclPrefix);
  std::string_view name = variable;
  if (nccls) name.remove_prefix(kNcclPrefix.size());
  if (variable.starts_with(kOurPrefix)) name.remove_prefix(kOurPrefix.size());
  const SettingSpec* spec = find_spec(name);
  if (nccls) {
    const bool used = name == "CONF_FILE" || (spec != nullptr && spec->nccl == NcclName::kShared);
    if (!used) remarks.without_effect.emplace_back(variable);
  } else if (spec == nullptr || name == variable) {
    remarks.warnings.push_back(fmt::format("{} is no setting of RailCCL ({}){}", variable,
                                           entry.origin, nearest_name(name)));
  } else if (spec->key == Setting::kConfFile && !entry.origin.starts_with("environment")) {
    remarks.warnings.push_back(fmt::format(
        "{} at {} has no effect: it is read from the environment only", variable, entry.origin));
  }
}

Remarks remark_on_names(const SettingsLayers& set) {
  Remarks remarks;
  remarks.warnings = set.warnings;
  for (const SettingsLayer& layer : set.layers) {
    for (const auto& [variable, entry] : layer) remark_on(variable, entry, remarks);
  }
  auto& names = remarks.without_effect;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return remarks;
}

}  // namespace

Result<Settings> load_settings(const SettingsSource& source) {
  RAILCCL_ASSIGN(const SettingsLayers set, collect_settings(source));
  std::vector<SettingValue> values;
  values.reserve(kSettings);
  for (const SettingSpec& spec : settings_table()) {
    RAILCCL_ASSIGN(SettingValue chosen, choose_value(set, spec));
    values.push_back(std::move(chosen));
  }
  Remarks remarks = remark_on_names(set);
  Settings settings;
  settings.values_ = std::make_shared<const std::vector<SettingValue>>(std::move(values));
  settings.warnings_ =
      std::make_shared<const std::vector<std::string>>(std::move(remarks.warnings));
  settings.without_effect_ =
      std::make_shared<const std::vector<std::string>>(std::move(remarks.without_effect));
  return settings;
}

Error Settings::bad_value(Setting key, std::string_view allowed) const {
  const SettingValue& bad = value(key);
  return bad_value_error(fmt::format("{}{}", kOurPrefix, setting_spec(key).name), bad.origin,
                         fmt::format("'{}' is not allowed; allowed is {}", bad.text, allowed));
}

}  // namespace railccl
