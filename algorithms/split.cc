#include "algorithms/split.h"

#include <algorithm>

namespace railccl::algorithms {
namespace {

uint64_t split_unit(uint64_t count, uint64_t parts) {
  uint64_t unit = 16;
  while (unit > 1 && count < unit * parts) unit /= 2;
  return unit;
}

}  // namespace

Part even_part(Part whole, int parts, int index) {
  const auto n = static_cast<uint64_t>(parts);
  const auto i = static_cast<uint64_t>(index);
  const uint64_t unit = split_unit(whole.count, n);
  const uint64_t units = (whole.count + unit - 1) / unit;
  const uint64_t share = units / n;
  const uint64_t larger = units % n;  // so many parts have one unit more
  const uint64_t first = i * share + std::min(i, larger);
  const uint64_t last = first + share + (i < larger ? 1 : 0);
  const uint64_t begin = std::min(first * unit, whole.count);
  const uint64_t end = std::min(last * unit, whole.count);
  return {.begin = whole.begin + begin, .count = end - begin};
}

uint64_t largest_part(uint64_t count, int parts) {
  const auto n = static_cast<uint64_t>(parts);
  const uint64_t unit = split_unit(count, n);
  const uint64_t units = (count + unit - 1) / unit;
  return (units + n - 1) / n * unit;
}

}  // namespace railccl::algorithms
