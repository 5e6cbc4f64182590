// How a piece is cut among ranks: nearly equal parts whose boundaries are multiples of 16 elements
// where there are enough elements for that, else of the largest smaller power of two. Pure.
#pragma once

#include <cstdint>

namespace railccl::algorithms {

struct Part {
  uint64_t begin = 0;
  uint64_t count = 0;
};

// The `index`-th of `parts` parts of `whole`. Parts differ by at most one unit; the first are the
// larger ones, and those at the end are empty when there are fewer elements than parts.
Part even_part(Part whole, int parts, int index);

// No part of any piece of at most `count` elements is larger than this.
uint64_t largest_part(uint64_t count, int parts);

}  // namespace railccl::algorithms
