#include "tests/algorithms/shapes.h"

#include <fmt/format.h>

#include <bit>
#include <numeric>
#include <set>

#include "algorithms/node_stage.h"

namespace railccl {
namespace {

struct PieceOfBlock {
  uint64_t piece;
  uint64_t block;
};

std::vector<PieceOfBlock> pieces_of(const Layout& layout) {
  const auto n = static_cast<uint64_t>(layout.ranks());
  const auto nodes = static_cast<uint64_t>(layout.nodes());
  const uint64_t uneven = 3 * n + 5;
  const uint64_t even = 16 * n * nodes * std::bit_floor(nodes) *
                        static_cast<uint64_t>(algorithms::columns_of(layout));
  return {{1, 1},          // fewer than ranks
          {n, 2 * n + 1},  // one each; two whole pieces and a last one of one element
          {uneven, uneven},
          {16 * n + 7, 48 * n + 9},
          {even, even}};  // costs are exact
}

std::vector<int> node_ids(int ranks, const std::function<int(int)>& node_of) {
  std::vector<int> nodes;
  for (int rank = 0; rank < ranks; ++rank) nodes.push_back(node_of(rank));
  return nodes;
}

NamedLayout named(std::string name, const std::vector<int>& nodes) {
  return {std::move(name), std::make_shared<const Layout>(make_layout(nodes))};
}

}  // namespace

std::vector<NamedLayout> layouts_of(int ranks) {
  const auto make = [ranks](const std::function<int(int)>& node_of) {
    return node_ids(ranks, node_of);
  };
  const std::vector<std::pair<std::string, std::vector<int>>> candidates = {
      {"one node", make([](int) { return 0; })},
      {"two nodes", make([&](int rank) { return rank < (ranks + 1) / 2 ? 0 : 1; })},
      {"unequal nodes", make([&](int rank) {
         return rank < ranks / 2 ? 0 : rank < ranks - 1 ? 1 : 2;
       })},
      {"nodes of 5, 3, 3, ...", make([](int rank) { return rank < 5 ? 0 : (rank - 5) / 3 + 1; })},
      {"interleaved", make([](int rank) { return rank * 7 % 3; })},
      {"one rank per node", make([](int rank) { return -rank; })},
  };
  std::vector<NamedLayout> layouts;
  std::set<std::vector<int>> seen;
  for (const auto& [name, nodes] : candidates) {
    auto layout = std::make_shared<const Layout>(make_layout(nodes));
    if (seen.insert(layout->node_of).second) layouts.push_back({name, std::move(layout)});
  }
  return layouts;
}

std::vector<NamedLayout> large_layouts(int ranks) {
  const int triples = ranks / 21 + 1;
  const auto uneven = [triples](int rank) {
    const int index = rank / triples;  // 0..20: 8 + 6 + 7 ranks of three nodes
    return 3 * (rank % triples) + (index < 8 ? 0 : index < 14 ? 1 : 2);
  };
  return {named("one node", node_ids(ranks, [](int) { return 0; })),
          named("nodes of 8", node_ids(ranks, [](int rank) { return rank / 8; })),
          named("interleaved nodes of 8, 6, 7", node_ids(ranks, uneven)),
          named("one rank per node", node_ids(ranks, [](int rank) { return rank; }))};
}

std::vector<int> all_roots(int ranks) {
  std::vector<int> roots(static_cast<size_t>(ranks));
  std::iota(roots.begin(), roots.end(), 0);
  return roots;
}

std::vector<int> some_roots(int ranks) { return {0, ranks / 3, ranks - 1}; }

Shape large_shape(Collective collective, const NamedLayout& layout) {
  const auto ranks = static_cast<uint64_t>(layout.layout->ranks());
  const bool whole = collective == Collective::kAllReduce || collective == Collective::kBroadcast ||
                     collective == Collective::kReduce;
  const uint64_t piece = whole ? 2 * ranks + 1 : 1;
  return {.collective = collective,
          .layout = layout.layout,
          .root = layout.layout->ranks() / 3,
          .block = piece,
          .piece = piece,
          .max_piece = piece,
          .direct = true};
}

void for_each_shape(Collective collective, const NamedLayout& layout, const std::vector<int>& roots,
                    const std::function<void(const Shape&)>& visit) {
  const std::vector<int> used = is_rooted(collective) ? roots : std::vector<int>{0};
  for (const int root : used) {
    for (const PieceOfBlock& size : pieces_of(*layout.layout)) {
      for (const bool in_place : {false, true}) {
        for (const bool direct : {false, true}) {
          visit({.collective = collective,
                 .layout = layout.layout,
                 .root = root,
                 .block = size.block,
                 .piece = size.piece,
                 .max_piece = size.piece,
                 .in_place = in_place,
                 .direct = direct});
        }
      }
    }
  }
}

std::string describe(const Algorithm& algorithm, const Shape& shape, const NamedLayout& layout) {
  return fmt::format("{} {} {} ranks ({}) root {} block {} piece {}{}{}", algorithm.name,
                     collective_name(algorithm.collective), shape.layout->ranks(), layout.name,
                     shape.root, shape.block, shape.piece, shape.in_place ? " in place" : "",
                     shape.direct ? " direct" : "");
}

}  // namespace railccl
