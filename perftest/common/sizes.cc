#include "perftest/common/sizes.h"

#include <charconv>
#include <cmath>

namespace railccl::perftest {
namespace {

// The factor of "", "K", "MB", "GiB", ...; 0 if it is none.
double unit_factor(std::string_view unit) {
  if (unit.empty()) return 1;
  if (unit == "B" || unit == "b") return 1;
  const std::string_view rest = unit.substr(1);
  if (!rest.empty() && rest != "B" && rest != "iB") return 0;
  switch (unit.front()) {
    case 'k':
    case 'K':
      return 1024.0;
    case 'm':
    case 'M':
      return 1024.0 * 1024;
    case 'g':
    case 'G':
      return 1024.0 * 1024 * 1024;
    default:
      return 0;
  }
}

Outcome<uint64_t> read_size(const char* option, const std::string& text) {
  const auto size = parse_size(text);
  if (size) return *size;
  return failure(Exit::kUsage, "{} '{}' is not a size: give bytes, or a number with K, M or G",
                 option, text);
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) {
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::general);
  if (error != std::errc() || !std::isfinite(number) || std::signbit(number)) return std::nullopt;
  const double factor = unit_factor(text.substr(static_cast<size_t>(end - text.data())));
  const double bytes = number * factor;
  if (factor == 0 || bytes >= std::ldexp(1.0, 63)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

Outcome<SizeRange> read_size_range(const SizeTexts& texts) {
  const auto min = read_size("-b", texts.min_bytes);
  if (!min) return tl::unexpected(min.error());
  const auto max = read_size("-e", texts.max_bytes);
  if (!max) return tl::unexpected(max.error());
  const auto step = read_size("-i", texts.step_bytes);
  if (!step) return tl::unexpected(step.error());
  if (*min > *max) {
    return failure(Exit::kUsage, "-b {} is larger than -e {}", texts.min_bytes, texts.max_bytes);
  }
  const bool by_factor = texts.step_factor > 1;
  const bool grows = by_factor ? *min > 0 : *step > 0;
  if (!grows && *min < *max) {
    return failure(Exit::kUsage, "{} never gets from -b {} to -e {}",
                   by_factor ? "a factor (-f)" : "-i 0", texts.min_bytes, texts.max_bytes);
  }
  return SizeRange{
      .min_bytes = *min, .max_bytes = *max, .step_bytes = *step, .step_factor = texts.step_factor};
}

std::vector<uint64_t> size_sequence(const SizeRange& range) {
  std::vector<uint64_t> sizes;
  for (uint64_t size = range.min_bytes; size <= range.max_bytes;) {
    sizes.push_back(size);
    const uint64_t next =
        range.step_factor > 1 ? size * range.step_factor : size + range.step_bytes;
    if (next <= size || (range.step_factor > 1 && next / range.step_factor != size)) break;
    size = next;
  }
  return sizes;
}

std::vector<uint64_t> warmup_sequence(const SizeRange& range) {
  return size_sequence(
      {.min_bytes = range.min_bytes, .max_bytes = range.max_bytes, .step_factor = 2});
}

}  // namespace railccl::perftest
