// Turns the text of one setting into its value. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/setting_spec.h"
#include "src/base/status.h"

namespace railccl {

struct ParsedSetting {
  int64_t number = 0;
  std::string text;
};

// The error says only what is wrong with `text`; the caller adds the variable and its origin.
Result<ParsedSetting> parse_setting(const SettingSpec& spec, std::string_view text);

// "0 or 1", "10 to 600000", "4K to 1G, with K, M or G", "auto, host or cuda", "text".
std::string allowed_values(const SettingSpec& spec);

// The words of a choice, each with its synonyms after it.
std::vector<std::vector<std::string_view>> choice_words(std::string_view choices);

// 65536 -> "64K"; what is no whole K, M or G stays a plain number.
std::string format_bytes(uint64_t bytes);

// Without white space at both ends.
std::string_view trimmed(std::string_view text);

// The parts between separators, without the empty ones; into `text`.
std::vector<std::string_view> split_words(std::string_view text, char separator);

// Equal but for the case of letters.
bool same_word(std::string_view left, std::string_view right);

// The number of insertions, deletions and replacements between two words, letters' case ignored.
size_t edit_distance(std::string_view left, std::string_view right);

}  // namespace railccl
