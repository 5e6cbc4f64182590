// Who of the communicator is still there, and what the tree looks like without the others. Pure;
// owned by the control path.
//
// The mended tree: a rank hangs below its nearest ancestor that is not gone; when all its ancestors
// are gone, below the smallest rank that is left. So every rank but the smallest has a parent with
// a smaller number, whoever is gone, and each rank can work out its neighbours by itself.
#pragma once

#include <cstddef>
#include <vector>

#include "src/core/rank_tree.h"

namespace railccl::boot {

class Membership {
 public:
  Membership(const RankTree& tree, int self);

  // False: it was gone already.
  bool mark_gone(int rank);
  bool gone(int rank) const { return gone_[static_cast<size_t>(rank)]; }
  // A rank that said goodbye is still there, until it is gone. False: known already.
  bool add_goodbye(int rank);
  bool said_goodbye(int rank) const { return goodbye_[static_cast<size_t>(rank)]; }
  // Every rank is gone or has said goodbye.
  bool all_ended() const { return running_ == 0; }

  int parent() const { return parent_; }  // -1: this rank is the root now
  const std::vector<int>& children() const { return children_; }
  bool is_neighbour(int rank) const;
  // This rank and all whose way to the root leads through it; everyone, when it is the root.
  const std::vector<int>& subtree() const { return subtree_; }
  int ranks() const { return tree_.ranks(); }
  int self() const { return self_; }

 private:
  void mend();
  void add_children(int of);
  void add_subtree(int of);

  RankTree tree_;
  int self_;
  std::vector<bool> gone_;
  std::vector<bool> goodbye_;
  int running_;
  int parent_ = -1;
  std::vector<int> children_;
  std::vector<int> subtree_;
};

}  // namespace railccl::boot
