// The shapes that the tests of algorithms go through.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "algorithms/schedule.h"

namespace railccl {

struct NamedLayout {
  std::string name;
  std::shared_ptr<const Layout> layout;
};

// One node, two equal nodes, unequal nodes, interleaved ranks, one rank per node; without those
// that coincide.
std::vector<NamedLayout> layouts_of(int ranks);
// For hundreds of ranks: one node, nodes of 8, nodes of 8, 6 and 7 with interleaved ranks, one rank
// per node.
std::vector<NamedLayout> large_layouts(int ranks);
std::vector<int> all_roots(int ranks);
// First, last, and one in the middle.
std::vector<int> some_roots(int ranks);
// Elements that give each rank something in a thousand-rank communicator, in one piece.
Shape large_shape(Collective collective, const NamedLayout& layout);

// In place or not, direct or not, and pieces: one element, fewer than ranks, not divisible, with
// and without a shorter last piece. Rooted collectives with each of `roots`.
void for_each_shape(Collective collective, const NamedLayout& layout, const std::vector<int>& roots,
                    const std::function<void(const Shape&)>& visit);

std::string describe(const Algorithm& algorithm, const Shape& shape, const NamedLayout& layout);

}  // namespace railccl
