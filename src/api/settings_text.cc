// railcclSettings: the settings table with the values in effect, as text or JSON.
#include <nlohmann/json.hpp>

#include "include/railccl/railccl.h"
#include "src/api/export.h"
#include "src/api/last_error.h"
#include "src/api/text_out.h"
#include "src/base/settings.h"
#include "src/base/settings_print.h"

namespace railccl {
namespace {

nlohmann::json settings_as_json(const Settings& settings) {
  nlohmann::json all = nlohmann::json::array();
  for (const SettingSpec& spec : settings_table()) {
    const SettingValue& value = settings.value(spec.key);
    const bool secret = spec.key == Setting::kJobSecret && !value.text.empty();
    nlohmann::json entry = {{"name", "RAILCCL_" + std::string(spec.name)},
                            {"default", spec.fallback},
                            {"value", secret ? "(set)" : value.text},
                            {"origin", value.origin},
                            {"help", spec.help}};
    if (spec.nccl == NcclName::kShared) entry["nccl_alias"] = "NCCL_" + std::string(spec.name);
    all.push_back(std::move(entry));
  }
  return all;
}

Status print_settings(railcclFormat_t format, char* text, size_t capacity, size_t* length) {
  const Result<Settings> settings = load_settings(process_settings_source());
  std::string value;
  if (!settings) {
    const std::string message(settings.error().message());
    value = format == railcclJson ? nlohmann::json{{"error", message}}.dump(2) : message + "\n";
  } else {
    value =
        format == railcclJson ? settings_as_json(*settings).dump(2) : settings_as_text(*settings);
  }
  RAILCCL_TRY(give_text(value, text, capacity, length, "railcclSettings"));
  return settings ? Status::ok() : settings.error();
}

}  // namespace
}  // namespace railccl

extern "C" RAILCCL_EXPORTED ncclResult_t railcclSettings(railcclFormat_t format, char* text,
                                                         size_t capacity, size_t* length) {
  return railccl::report(railccl::print_settings(format, text, capacity, length));
}
