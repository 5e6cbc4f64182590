#include "src/core/control_path_membership.h"

#include <algorithm>
#include <numeric>

namespace railccl::boot {

Membership::Membership(const RankTree& tree, int self)
    : tree_(tree),
      self_(self),
      gone_(static_cast<size_t>(tree.ranks())),
      goodbye_(static_cast<size_t>(tree.ranks())),
      running_(tree.ranks()) {
  mend();
}

bool Membership::mark_gone(int rank) {
  if (gone(rank)) return false;
  gone_[static_cast<size_t>(rank)] = true;
  if (!said_goodbye(rank)) --running_;
  mend();
  return true;
}

bool Membership::add_goodbye(int rank) {
  if (said_goodbye(rank)) return false;
  goodbye_[static_cast<size_t>(rank)] = true;
  if (!gone(rank)) --running_;
  return true;
}

bool Membership::is_neighbour(int rank) const {
  return rank == parent_ || std::find(children_.begin(), children_.end(), rank) != children_.end();
}

void Membership::mend() {
  children_.clear();
  subtree_.clear();
  add_children(self_);
  parent_ = tree_.parent(self_);
  while (parent_ >= 0 && gone(parent_)) parent_ = tree_.parent(parent_);
  if (parent_ >= 0) return add_subtree(self_);
  int smallest = 0;
  while (smallest < self_ && gone(smallest)) ++smallest;
  if (smallest != self_) {
    parent_ = smallest;
    return add_subtree(self_);
  }
  subtree_.resize(static_cast<size_t>(ranks()));
  std::iota(subtree_.begin(), subtree_.end(), 0);
  if (self_ == 0) return;
  // The new root takes all who have no ancestor left; its own children are not among them.
  std::vector<int> own = std::move(children_);
  children_.clear();
  add_children(0);
  std::erase(children_, self_);
  children_.insert(children_.end(), own.begin(), own.end());
}

// The live ranks below `of`, looking through those that are gone.
void Membership::add_children(int of) {
  for (const int child : tree_.children(of)) {
    if (gone(child)) {
      add_children(child);
    } else {
      children_.push_back(child);
    }
  }
}

void Membership::add_subtree(int of) {
  subtree_.push_back(of);
  for (const int child : tree_.children(of)) add_subtree(child);
}

}  // namespace railccl::boot
