// The tree and how it is mended: pure, against plain searches over all ranks.
#include "src/core/control_path_membership.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "src/core/rank_tree.h"

namespace railccl::boot {
namespace {

struct Shape {
  int ranks;
  int roots;
  int arity;
};
const std::vector<Shape> kShapes = {{1, 1, 8},   {2, 1, 8},    {9, 1, 8},   {10, 1, 8},
                                    {100, 1, 8}, {12, 2, 2},   {100, 7, 2}, {64, 64, 8},
                                    {65, 9, 3},  {1000, 17, 8}};

TEST(RankTree, IsATreeOverAllRanksWithSmallerParentsAndBoundedChildren) {
  for (const Shape& shape : kShapes) {
    const RankTree tree(shape.ranks, shape.roots, shape.arity);
    std::vector<int> seen(static_cast<size_t>(shape.ranks));
    for (int rank = 0; rank < shape.ranks; ++rank) {
      const std::vector<int> children = tree.children(rank);
      EXPECT_LE(children.size(), static_cast<size_t>(2 * shape.arity));
      for (const int child : children) {
        EXPECT_EQ(tree.parent(child), rank);
        EXPECT_GT(child, rank);
        ++seen[static_cast<size_t>(child)];
      }
    }
    EXPECT_EQ(tree.parent(0), -1);
    EXPECT_EQ(seen[0], 0);
    EXPECT_TRUE(std::all_of(seen.begin() + 1, seen.end(), [](int times) { return times == 1; }));
  }
}

TEST(RankTree, DepthIsLogarithmic) {
  const RankTree tree(32768, 1);
  int depth = 0;
  for (int rank = 32767; rank > 0; rank = tree.parent(rank)) ++depth;
  EXPECT_LE(depth, 5);
}

// Both ends of every edge must meet at one root at least, or nobody could introduce them.
TEST(RankTree, ParentAndChildJoinAtTheSameRoot) {
  for (const Shape& shape : kShapes) {
    const RankTree tree(shape.ranks, shape.roots, shape.arity);
    for (int rank = 0; rank < shape.ranks; ++rank) {
      const std::vector<int> roots = tree.roots_of(rank);
      for (int root = 0; root < shape.roots; ++root) {
        const bool listed = std::find(roots.begin(), roots.end(), root) != roots.end();
        const std::vector<int> joining = tree.joining(root);
        EXPECT_EQ(listed, std::find(joining.begin(), joining.end(), rank) != joining.end());
        EXPECT_EQ(listed, tree.joins(rank, root));
      }
      if (rank == 0) continue;
      const std::vector<int> other = tree.roots_of(tree.parent(rank));
      EXPECT_TRUE(std::any_of(
          roots.begin(), roots.end(),
          [&](int root) { return std::find(other.begin(), other.end(), root) != other.end(); }))
          << "rank " << rank;
    }
  }
}

TEST(Membership, WhateverRanksAreGoneTheOthersFormOneTree) {
  std::mt19937 random(20);
  for (const Shape& shape : kShapes) {
    const RankTree tree(shape.ranks, shape.roots, shape.arity);
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<int> order(static_cast<size_t>(shape.ranks));
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random);
      const auto lost =
          static_cast<size_t>(static_cast<int>(random() % static_cast<unsigned>(shape.ranks)));
      const std::set<int> gone(order.begin(), order.begin() + static_cast<ptrdiff_t>(lost));
      std::map<int, std::vector<int>> children_by_parent;
      std::map<int, std::vector<int>> claimed;
      int smallest = -1;
      for (int rank = 0; rank < shape.ranks; ++rank) {
        if (gone.contains(rank)) continue;
        if (smallest < 0) smallest = rank;
        Membership members(tree, rank);
        for (const int other : gone) EXPECT_TRUE(members.mark_gone(other));
        claimed[rank] = members.children();
        std::sort(claimed[rank].begin(), claimed[rank].end());
        if (rank == smallest) {
          EXPECT_EQ(members.parent(), -1);
          EXPECT_EQ(members.subtree().size(), static_cast<size_t>(shape.ranks));
          continue;
        }
        ASSERT_GE(members.parent(), 0);
        EXPECT_LT(members.parent(), rank);  // so there is no circle
        EXPECT_FALSE(gone.contains(members.parent()));
        children_by_parent[members.parent()].push_back(rank);
      }
      for (const auto& [rank, children] : claimed) {
        EXPECT_EQ(children, children_by_parent[rank]) << "rank " << rank << " of " << shape.ranks;
      }
    }
  }
}

TEST(Membership, GoodbyesAndLossesEndTheCommunicatorTogether) {
  Membership members(RankTree(4, 1), 1);
  EXPECT_FALSE(members.all_ended());
  EXPECT_TRUE(members.add_goodbye(0));
  EXPECT_FALSE(members.add_goodbye(0));
  EXPECT_TRUE(members.add_goodbye(1));
  EXPECT_TRUE(members.mark_gone(2));
  EXPECT_FALSE(members.mark_gone(2));
  EXPECT_TRUE(members.add_goodbye(2));  // known late
  EXPECT_FALSE(members.all_ended());
  EXPECT_TRUE(members.mark_gone(0));  // said goodbye and went: counts once
  EXPECT_FALSE(members.all_ended());
  EXPECT_TRUE(members.add_goodbye(3));
  EXPECT_TRUE(members.all_ended());
}

}  // namespace
}  // namespace railccl::boot
