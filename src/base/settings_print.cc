#include "src/base/settings_print.h"

#include <fmt/format.h>

#include "src/base/setting_value.h"

namespace railccl {
namespace {

std::string_view group_name(SettingGroup group) {
  switch (group) {
    case SettingGroup::kGeneral:
      return "General";
    case SettingGroup::kBootstrap:
      return "Bootstrap and membership";
    case SettingGroup::kRails:
      return "Rails";
    case SettingGroup::kSockets:
      return "Sockets";
    case SettingGroup::kVerbs:
      return "RDMA (verbs)";
    case SettingGroup::kNode:
      return "Inside a node";
    case SettingGroup::kGpu:
      return "GPU";
    case SettingGroup::kTuning:
      return "Algorithms and memory";
    case SettingGroup::kProgress:
      return "Progress";
    case SettingGroup::kTopology:
      return "Topology";
    case SettingGroup::kDiagnostics:
      return "Log, trace, metrics";
  }
  return "";
}

std::string shown(std::string_view text) { return text.empty() ? "(empty)" : std::string(text); }

// A secret is shown as set, never by value.
std::string shown_value(const SettingSpec& spec, const SettingValue& value) {
  if (spec.key == Setting::kJobSecret && !value.text.empty()) return "(set)";
  return shown(value.text);
}

// The group's title before its first row.
template <typename Title>
void begin_group(const SettingSpec& spec, Title title) {
  const bool first = static_cast<size_t>(spec.key) == 0;
  if (first || settings_table()[static_cast<size_t>(spec.key) - 1].group != spec.group) {
    title(group_name(spec.group));
  }
}

constexpr std::string_view kMarkdownHead =
    "# Environment\n\n"
    "Every setting of RailCCL. This page is printed from the table in "
    "`src/base/settings_table.h`;\n"
    "`railccl_info --env` prints the same with the values of the moment and where they come "
    "from.\n\n"
    "A value is taken from the first place that has one: `RAILCCL_X` in the environment, `NCCL_X` "
    "in\n"
    "the environment (where the column *also* has it), the files `RAILCCL_CONF_FILE`,\n"
    "`~/.railccl.conf`, `/etc/railccl.conf`, then `NCCL_CONF_FILE` (or `~/.nccl.conf` when that is "
    "not\n"
    "set) and `/etc/nccl.conf`, then the default. A file has lines `NAME=value`, with the full "
    "name;\n"
    "`#` begins a comment; of two lines with the same name the first counts. An empty value counts "
    "as\n"
    "not set. A value that is not allowed is an error that names the variable, the place, the "
    "value\n"
    "and what is allowed; an unknown `RAILCCL_` name is a warning with the nearest known one.\n";

// '|' would end a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string escaped;
  for (const char letter : text) {
    if (letter == '|') escaped += '\\';
    escaped += letter;
  }
  return escaped;
}

}  // namespace

std::string settings_as_text(const Settings& settings) {
  std::string text;
  for (const SettingSpec& spec : settings_table()) {
    begin_group(spec, [&](std::string_view title) {
      text += fmt::format("{}{}\n", text.empty() ? "" : "\n", title);
    });
    const SettingValue& value = settings.value(spec.key);
    text +=
        fmt::format("  RAILCCL_{} = {}  [{}]\n", spec.name, shown_value(spec, value), value.origin);
    text += fmt::format("      {}\n", spec.help);
    text += fmt::format(
        "      allowed: {}; default: {}{}\n", allowed_values(spec), shown(spec.fallback),
        spec.nccl == NcclName::kShared ? fmt::format("; also NCCL_{}", spec.name) : std::string());
  }
  return text;
}

std::string changed_settings_as_text(const Settings& settings) {
  std::string text;
  for (const SettingSpec& spec : settings_table()) {
    const SettingValue& value = settings.value(spec.key);
    if (value.is_default) continue;
    text +=
        fmt::format("RAILCCL_{} = {}  [{}]\n", spec.name, shown_value(spec, value), value.origin);
  }
  return text;
}

std::string settings_as_markdown() {
  std::string text(kMarkdownHead);
  for (const SettingSpec& spec : settings_table()) {
    begin_group(spec, [&](std::string_view title) {
      text += fmt::format(
          "\n## {}\n\n| variable | also | allowed | default | meaning |\n"
          "| --- | --- | --- | --- | --- |\n",
          title);
    });
    text += fmt::format(
        "| `RAILCCL_{}` | {} | {} | {} | {} |\n", spec.name,
        spec.nccl == NcclName::kShared ? fmt::format("`NCCL_{}`", spec.name) : std::string(),
        cell(allowed_values(spec)), spec.fallback.empty() ? "" : fmt::format("`{}`", spec.fallback),
        cell(spec.help));
  }
  return text;
}

}  // namespace railccl
