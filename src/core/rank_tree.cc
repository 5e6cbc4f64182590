#include "src/core/rank_tree.h"

#include <algorithm>

namespace railccl::boot {

int RankTree::leader(int root) const { return static_cast<int>(int64_t{root} * ranks_ / roots_); }

std::pair<int, int> RankTree::block(int root) const { return {leader(root), leader(root + 1)}; }

int RankTree::root_of(int rank) const {
  int root = static_cast<int>(int64_t{rank} * roots_ / ranks_);
  while (root + 1 < roots_ && leader(root + 1) <= rank) ++root;
  while (leader(root) > rank) --root;
  return root;
}

int RankTree::parent(int rank) const {
  if (rank == 0) return -1;
  const int root = root_of(rank);
  const int first = leader(root);
  if (rank == first) return leader((root - 1) / arity_);
  return first + (rank - first - 1) / arity_;
}

std::vector<int> RankTree::children(int rank) const {
  std::vector<int> result;
  const int root = root_of(rank);
  const auto [first, last] = block(root);
  const int64_t own = int64_t{rank - first} * arity_ + 1;
  for (int64_t i = own; i < own + arity_ && first + i < last; ++i) {
    result.push_back(first + static_cast<int>(i));
  }
  if (rank != first) return result;
  const int64_t leaders = int64_t{root} * arity_ + 1;
  for (int64_t i = leaders; i < leaders + arity_ && i < roots_; ++i) {
    result.push_back(leader(static_cast<int>(i)));
  }
  std::sort(result.begin(), result.end());
  return result;
}

bool RankTree::joins(int rank, int root) const {
  const int own = root_of(rank);
  return own == root || (root == 0 && leader(own) == rank);
}

std::vector<int> RankTree::joining(int root) const {
  std::vector<int> result;
  const auto [first, last] = block(root);
  for (int rank = first; rank < last; ++rank) result.push_back(rank);
  for (int other = 1; root == 0 && other < roots_; ++other) result.push_back(leader(other));
  return result;
}

std::vector<int> RankTree::roots_of(int rank) const {
  const int own = root_of(rank);
  if (own != 0 && leader(own) == rank) return {own, 0};
  return {own};
}

}  // namespace railccl::boot
