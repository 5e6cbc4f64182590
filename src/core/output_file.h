// Files that the user wants written later (traces, metrics, explanations): looked at when the
// process starts, so that a wrong name is an error then and not a missing file at the end.
#pragma once

#include "src/base/settings.h"
#include "src/base/status.h"

namespace railccl {

// kInvalidUsage when the folder of the file that `key` names is not there or may not be written, or
// when the name is a folder. An empty value is fine.
Status check_output_file(const Settings& settings, TypedSetting<SettingType::kText> key);

}  // namespace railccl
