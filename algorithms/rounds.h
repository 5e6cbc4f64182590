// Cost of algorithms that work in rounds, by playing their messages: O(messages). Pure.
#pragma once

#include <vector>

#include "algorithms/schedule.h"

namespace railccl::algorithms {

class RoundCost {
 public:
  explicit RoundCost(const Layout& layout);
  // A message depends on what its sender received in earlier rounds. Amounts are per element of the
  // piece; it is one put, or several of which the largest is `largest_put`, which
  // is what the longest path counts: the others leave beside it.
  void next_round() { before_ = now_; }
  void message(int from, int to, double amount) { message(from, to, amount, amount); }
  void message(int from, int to, double amount, double largest_put);
  void reduce(int rank, double amount) { ranks_[static_cast<size_t>(rank)].reduced += amount; }
  // Messages on the longest path and amounts of the busiest rank; no scratch.
  Cost total() const;

 private:
  struct Amounts {
    double inter = 0;
    double local = 0;
    double reduced = 0;
  };
  struct Path {
    uint32_t inter = 0;
    uint32_t local = 0;
    double elements_inter = 0;
  };
  const Layout& layout_;
  double largest_inter_ = 0;
  std::vector<Amounts> ranks_;
  std::vector<Path> now_;
  std::vector<Path> before_;
};

}  // namespace railccl::algorithms
