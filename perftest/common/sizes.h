// Message sizes: how the command line writes them, and the sequence a test runs through. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "perftest/common/outcome.h"

namespace railccl::perftest {

// "8", "64K", "1.5M", "2g" (binary units, optionally followed by "B" or "iB"); none if it is
// anything else, negative, or 2^63 bytes and more.
std::optional<uint64_t> parse_size(std::string_view text);

struct SizeRange {
  uint64_t min_bytes = 32 << 20;
  uint64_t max_bytes = 32 << 20;
  uint64_t step_bytes = 1 << 20;
  uint64_t step_factor = 1;  // > 1: multiplies, and step_bytes is not used
};

// -b, -e, -i and -f as given.
struct SizeTexts {
  std::string min_bytes;
  std::string max_bytes;
  std::string step_bytes = "1M";
  uint64_t step_factor = 1;
};
// Or what is wrong (Exit::kUsage), by option.
Outcome<SizeRange> read_size_range(const SizeTexts& texts);

// min, min + step (or min * factor), ... up to max; a range that does not grow (step 0, or 0 bytes
// times a factor) has min alone.
std::vector<uint64_t> size_sequence(const SizeRange& range);

// The sizes that are warmed up: doubling from min to max, as nccl-tests does.
std::vector<uint64_t> warmup_sequence(const SizeRange& range);

}  // namespace railccl::perftest
