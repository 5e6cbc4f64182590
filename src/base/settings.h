// The values of all settings, read once: from RAILCCL_X in the environment, else NCCL_X, else the
// files RAILCCL_CONF_FILE, ~/.railccl.conf, /etc/railccl.conf, NCCL_CONF_FILE (or, as NCCL has it,
// ~/.nccl.conf when that is not set), /etc/nccl.conf, else the default. An empty value counts as
// not set. Nothing else in the library reads the environment.
//
// A Settings is immutable and cheap to copy; any thread may use it. Getters check at compile time
// that the key has their type.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/setting.h"
#include "src/base/settings_source.h"
#include "src/base/settings_table.h"
#include "src/base/status.h"

namespace railccl {

// A key that is known, while compiling, to be of one type.
template <SettingType kType>
class TypedSetting {
 public:
  consteval TypedSetting(Setting key) : key_(key) {
    if (setting_spec(key).type != kType) throw "this setting has another type in settings_table.h";
  }
  constexpr Setting key() const { return key_; }

 private:
  Setting key_;
};

// One value and where it came from.
struct SettingValue {
  int64_t number = 0;  // bool, int, bytes; choice: index of the word
  std::string text;    // as written; choice: the canonical word
  std::string origin;  // "environment NCCL_DEBUG", "/etc/railccl.conf:3", "default"
  bool is_default = true;
};

class Settings {
 public:
  bool get_bool(TypedSetting<SettingType::kBool> key) const { return value(key.key()).number != 0; }
  int64_t get_int(TypedSetting<SettingType::kInt> key) const { return value(key.key()).number; }
  uint64_t get_bytes(TypedSetting<SettingType::kBytes> key) const {
    return static_cast<uint64_t>(value(key.key()).number);
  }
  const std::string& get_text(TypedSetting<SettingType::kText> key) const {
    return value(key.key()).text;
  }
  // Choice is the enum of setting.h that belongs to the key.
  template <typename Choice>
  Choice get_choice(TypedSetting<SettingType::kChoice> key) const {
    return static_cast<Choice>(value(key.key()).number);
  }
  const SettingValue& value(Setting key) const { return (*values_)[static_cast<size_t>(key)]; }
  bool is_set(Setting key) const { return !value(key).is_default; }

  // For whoever finds the inner syntax of a text wrong: an error that names the variable, where it
  // was set, its value, and `allowed`.
  Error bad_value(Setting key, std::string_view allowed) const;

  // Unknown RAILCCL_ names with the nearest known one, and the like; to be logged as warnings.
  const std::vector<std::string>& warnings() const { return *warnings_; }
  // NCCL_ variables that are set and have no effect here; to be logged as information.
  const std::vector<std::string>& without_effect() const { return *without_effect_; }

 private:
  friend Result<Settings> load_settings(const SettingsSource& source);
  std::shared_ptr<const std::vector<SettingValue>> values_;  // by Setting
  std::shared_ptr<const std::vector<std::string>> warnings_;
  std::shared_ptr<const std::vector<std::string>> without_effect_;
};

// kInvalidUsage with the variable, origin, value and what is allowed, when one does not parse.
Result<Settings> load_settings(const SettingsSource& source);

}  // namespace railccl
