#include "src/base/setting_value.h"

#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <optional>

namespace railccl {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Decimal or 0x...; a leading zero is refused, because NCCL would read it as octal.
std::optional<int64_t> parse_integer(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative || (!text.empty() && text.front() == '+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    return std::nullopt;
  }
  uint64_t magnitude = 0;
  const auto [end, problem] =
      std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (magnitude > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
}

// The power of two that a suffix stands for: "K", "KB", "KiB" and so on; 0 when there is none.
int take_suffix(std::string_view& text) {
  static constexpr std::array<std::string_view, 3> kTails = {"iB", "B", ""};
  static constexpr std::string_view kUnits = "KMG";
  for (const std::string_view tail : kTails) {
    if (text.size() < tail.size() + 2) continue;
    const size_t unit_at = text.size() - tail.size() - 1;
    if (!same_word(text.substr(unit_at + 1), tail)) continue;
    const size_t unit = kUnits.find(static_cast<char>(std::toupper(text[unit_at])));
    if (unit == std::string_view::npos) continue;
    text = text.substr(0, unit_at);
    return 10 * (static_cast<int>(unit) + 1);
  }
  return 0;
}

std::optional<int64_t> parse_bytes(std::string_view text) {
  const int shift = take_suffix(text);
  const std::optional<int64_t> number = parse_integer(text);
  if (!number || *number > std::numeric_limits<int64_t>::max() >> shift ||
      *number < std::numeric_limits<int64_t>::min() >> shift) {
    return std::nullopt;
  }
  return *number * (int64_t{1} << shift);
}

std::optional<int64_t> parse_bool(std::string_view text) {
  static constexpr std::array<std::string_view, 8> kWords = {"0",   "1",  "no",    "yes",
                                                             "off", "on", "false", "true"};
  for (size_t i = 0; i < kWords.size(); ++i) {
    if (same_word(text, kWords[i])) return static_cast<int64_t>(i % 2);
  }
  return std::nullopt;
}

std::optional<ParsedSetting> parse_choice(const SettingSpec& spec, std::string_view text) {
  const auto words = choice_words(spec.choices);
  for (size_t i = 0; i < words.size(); ++i) {
    for (const std::string_view word : words[i]) {
      if (same_word(text, word)) {
        return ParsedSetting{static_cast<int64_t>(i), std::string(words[i].front())};
      }
    }
  }
  return std::nullopt;
}

std::optional<ParsedSetting> parse_number(const SettingSpec& spec, std::string_view text) {
  std::optional<int64_t> number;
  if (spec.type == SettingType::kBool) number = parse_bool(text);
  if (spec.type == SettingType::kInt) number = parse_integer(text);
  if (spec.type == SettingType::kBytes) number = parse_bytes(text);
  if (!number || *number < spec.min || *number > spec.max) return std::nullopt;
  return ParsedSetting{*number, std::string(text)};
}

}  // namespace

Result<ParsedSetting> parse_setting(const SettingSpec& spec, std::string_view text) {
  text = trimmed(text);
  if (spec.type == SettingType::kText) return ParsedSetting{0, std::string(text)};
  const std::optional<ParsedSetting> parsed =
      spec.type == SettingType::kChoice ? parse_choice(spec, text) : parse_number(spec, text);
  if (!parsed) {
    return error(Code::kInvalidUsage, "'{}' is not allowed; allowed is {}", text,
                 allowed_values(spec));
  }
  return *parsed;
}

std::string allowed_values(const SettingSpec& spec) {
  switch (spec.type) {
    case SettingType::kBool:
      return "0 or 1";
    case SettingType::kInt:
      return fmt::format("a number from {} to {}", spec.min, spec.max);
    case SettingType::kBytes:
      return fmt::format("a size from {} to {}, with K, M or G if you like",
                         format_bytes(static_cast<uint64_t>(spec.min)),
                         format_bytes(static_cast<uint64_t>(spec.max)));
    case SettingType::kChoice: {
      std::vector<std::string> words;
      for (const auto& synonyms : choice_words(spec.choices)) {
        words.push_back(fmt::format("{}", fmt::join(synonyms, "=")));
      }
      const std::string last = words.back();
      words.pop_back();
      return fmt::format("{} or {}", fmt::join(words, ", "), last);
    }
    case SettingType::kText:
      break;
  }
  return "text";
}

std::vector<std::vector<std::string_view>> choice_words(std::string_view choices) {
  std::vector<std::vector<std::string_view>> words;
  for (const std::string_view word : split(choices, '|')) words.push_back(split(word, '='));
  return words;
}

std::string format_bytes(uint64_t bytes) {
  static constexpr std::string_view kUnits = "KMG";
  std::string text = fmt::format("{}", bytes);
  for (size_t i = 0; i < kUnits.size() && bytes != 0 && bytes % 1024 == 0; ++i) {
    bytes /= 1024;
    text = fmt::format("{}{}", bytes, kUnits[i]);
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  static constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> split_words(std::string_view text, char separator) {
  std::vector<std::string_view> parts = split(text, separator);
  std::erase_if(parts, [](std::string_view part) { return part.empty(); });
  return parts;
}

bool same_word(std::string_view left, std::string_view right) {
  return left.size() == right.size() && strncasecmp(left.data(), right.data(), left.size()) == 0;
}

size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() +
                          1);  // distance of left's first i letters to right's first j
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 0; i < left.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < right.size(); ++j) {
      const size_t replaced = diagonal + (same_word(left.substr(i, 1), right.substr(j, 1)) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace railccl
