#include "src/core/algorithm_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "algorithms/schedule.h"
#include "src/base/types.h"

namespace railccl {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) parts.push_back(lower(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return parts;
}

std::set<std::string> known_names() {
  std::set<std::string> names;
  for (const Algorithm& algorithm : catalog()) names.emplace(algorithm.name);
  return names;
}

Result<Collective> collective_of(const std::string& word) {
  for (int i = 0; i < kCollectives; ++i) {
    const auto collective = static_cast<Collective>(i);
    if (lower(collective_name(collective)) == word) return collective;
  }
  return error(Code::kInvalidUsage, "\"{}\" is not a collective", word);
}

// The algorithms of one collective that a list lets through; an empty result means that it names
// none of them.
Result<std::vector<std::string>> allowed_of(Collective collective, std::string_view list) {
  const bool inverted = !list.empty() && list[0] == '^';
  const std::vector<std::string> words = split(list.substr(inverted ? 1 : 0), ',');
  const std::set<std::string> known = known_names();
  for (const std::string& word : words) {
    if (known.count(word) == 0) {
      return error(Code::kInvalidUsage, "\"{}\" is not an algorithm; known are {}", word,
                   fmt::join(known, ", "));
    }
  }
  std::vector<std::string> allowed;
  for (const Algorithm& algorithm : catalog()) {
    if (algorithm.collective != collective) continue;
    const bool named = std::find(words.begin(), words.end(), algorithm.name) != words.end();
    if (named != inverted) allowed.emplace_back(algorithm.name);
  }
  return allowed;
}

}  // namespace

Result<std::vector<std::vector<std::string>>> parse_algorithm_choice(std::string_view text) {
  std::vector<std::vector<std::string>> allowed(kCollectives);
  for (const std::string& part : split(text, ';')) {
    const size_t colon = part.find(':');
    if (colon == std::string::npos) {
      for (int i = 0; i < kCollectives; ++i) {
        RAILCCL_ASSIGN(allowed[static_cast<size_t>(i)],
                       allowed_of(static_cast<Collective>(i), part));
      }
      continue;
    }
    RAILCCL_ASSIGN(const Collective collective, collective_of(part.substr(0, colon)));
    auto& names = allowed[static_cast<size_t>(collective)];
    RAILCCL_ASSIGN(names, allowed_of(collective, std::string_view(part).substr(colon + 1)));
    if (names.empty()) {
      return error(Code::kInvalidUsage, "no algorithm is left for {}", collective_name(collective));
    }
  }
  return allowed;
}

}  // namespace railccl
