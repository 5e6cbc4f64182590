#include "src/core/algorithm_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "algorithms/schedule.h"
#include "src/base/setting_value.h"
#include "src/base/types.h"

namespace railccl {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::set<std::string_view> known_names() {
  std::set<std::string_view> names;
  for (const Algorithm& algorithm : catalog()) names.emplace(algorithm.name);
  return names;
}

Result<Collective> collective_of(std::string_view word) {
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
  const auto words = split_words(list.substr(inverted ? 1 : 0), ',');
  const std::set<std::string_view> known = known_names();
  for (const std::string_view word : words) {
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
  const std::string lowered = lower(text);
  for (const std::string_view part : split_words(lowered, ';')) {
    const size_t colon = part.find(':');
    if (colon == std::string_view::npos) {
      for (int i = 0; i < kCollectives; ++i) {
        RAILCCL_ASSIGN(allowed[static_cast<size_t>(i)],
                       allowed_of(static_cast<Collective>(i), part));
      }
      continue;
    }
    RAILCCL_ASSIGN(const Collective collective, collective_of(part.substr(0, colon)));
    auto& names = allowed[static_cast<size_t>(collective)];
    RAILCCL_ASSIGN(names, allowed_of(collective, part.substr(colon + 1)));
    if (names.empty()) {
      return error(Code::kInvalidUsage, "no algorithm is left for {}", collective_name(collective));
    }
  }
  return allowed;
}

}  // namespace railccl
