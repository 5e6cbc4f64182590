#include "algorithms/rounds.h"

#include <algorithm>

namespace railccl::algorithms {

RoundCost::RoundCost(const Layout& layout)
    : layout_(layout),
      ranks_(layout.node_of.size()),
      now_(layout.node_of.size()),
      before_(layout.node_of.size()) {}

void RoundCost::message(int from, int to, double amount, double largest_put) {
  const auto sender = static_cast<size_t>(from);
  const auto receiver = static_cast<size_t>(to);
  const bool local = layout_.same_node(from, to);
  (local ? ranks_[sender].local : ranks_[sender].inter) += amount;
  if (!local) largest_inter_ = std::max(largest_inter_, largest_put);
  Path& path = now_[receiver];
  path.inter = std::max(path.inter, before_[sender].inter + (local ? 0 : 1));
  path.local = std::max(path.local, before_[sender].local + (local ? 1 : 0));
  path.elements_inter =
      std::max(path.elements_inter, before_[sender].elements_inter + (local ? 0 : largest_put));
}

Cost RoundCost::total() const {
  Cost cost;
  cost.largest_put = largest_inter_;
  for (const Amounts& amounts : ranks_) {
    cost.bytes_sent_inter = std::max(cost.bytes_sent_inter, amounts.inter);
    cost.bytes_sent_local = std::max(cost.bytes_sent_local, amounts.local);
    cost.elements_reduced = std::max(cost.elements_reduced, amounts.reduced);
  }
  for (const Path& path : now_) {
    cost.latency_steps_inter = std::max(cost.latency_steps_inter, path.inter);
    cost.latency_steps_local = std::max(cost.latency_steps_local, path.local);
    cost.path_elements_inter = std::max(cost.path_elements_inter, path.elements_inter);
  }
  return cost;
}

}  // namespace railccl::algorithms
