// The settings table for people: `railccl_info --env` and docs/environment.md. Any thread.
#pragma once

#include <string>

#include "src/base/settings.h"

namespace railccl {

// Every setting with its value and where it came from, by group.
std::string settings_as_text(const Settings& settings);
// The values that are not defaults, one per line: for the log and railccl_explain.
std::string changed_settings_as_text(const Settings& settings);
// The text of docs/environment.md: what there is, with defaults. The test that compares the page
// with it writes the page anew when RAILCCL_TESTS_WRITE_DOCS=1.
std::string settings_as_markdown();

}  // namespace railccl
