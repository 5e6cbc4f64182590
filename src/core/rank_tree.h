// Where each rank hangs in the tree of the control path, and which root it goes to first. Pure.
//
// With R roots (unique ids) the ranks fall into R blocks of neighbours; each block is a k-ary heap
// of its own, and the blocks' first ranks (leaders) form a k-ary heap on top. Every rank but 0 has
// a parent with a smaller number, so a tree that is mended by going up never closes a circle.
//
//   k = 2, 12 ranks, 2 roots:          0 ------------- 6
//                                     / \             / \           block of root 0: 0..5
//                                    1   2           7   8          block of root 1: 6..11
//                                   / \   \         / \   \         (a leader has up to 2k
//                                   children)
//                                  3   4   5       9  10  11
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace railccl::boot {

class RankTree {
 public:
  static constexpr int kArity = 8;

  // 1 <= roots <= ranks.
  RankTree(int ranks, int roots, int arity = kArity)
      : ranks_(ranks), roots_(roots), arity_(arity) {}

  int ranks() const { return ranks_; }
  int roots() const { return roots_; }
  int parent(int rank) const;  // -1 for rank 0
  std::vector<int> children(int rank) const;
  int root_of(int rank) const;
  int leader(int root) const;
  // Ranks first .. last - 1 belong to `root`.
  std::pair<int, int> block(int root) const;
  // Everyone who joins at `root`: its block, and at root 0 the leaders of the others.
  std::vector<int> joining(int root) const;
  bool joins(int rank, int root) const;
  // The roots that a rank joins at: its own, and a leader also root 0. One or two.
  std::vector<int> roots_of(int rank) const;

 private:
  int ranks_;
  int roots_;
  int arity_;
};

}  // namespace railccl::boot
