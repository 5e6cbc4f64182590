#include <algorithm>

#include "algorithms/algorithms.h"

namespace railccl {

const std::vector<Algorithm>& catalog() {
  using enum Collective;
  using namespace algorithms;
  // Never destroyed: operations may run while the process exits.
  static const auto& all = *new std::vector<Algorithm>{
      {"local", kAllReduce, hierarchical::unsuitable_local, hierarchical::all_reduce,
       hierarchical::cost, 1},
      {"hierarchical", kAllReduce, hierarchical::unsuitable, hierarchical::all_reduce,
       hierarchical::cost, 1},
      {"hierarchical-doubling", kAllReduce, hierarchical::unsuitable,
       hierarchical::all_reduce_doubling, hierarchical::cost_doubling, 1},
      {"hierarchical-halving", kAllReduce, hierarchical::unsuitable,
       hierarchical::all_reduce_halving, hierarchical::cost_halving, 1},
      {"ring", kAllReduce, ring::unsuitable, ring::all_reduce, ring::cost, 1},
      {"tree", kAllReduce, tree::unsuitable, tree::all_reduce, tree::cost, 2},
      {"doubling", kAllReduce, doubling::unsuitable, doubling::all_reduce, doubling::cost, 1},

      {"local", kAllGather, hierarchical::unsuitable_local, hierarchical::all_gather,
       hierarchical::cost, 1},
      {"hierarchical", kAllGather, hierarchical::unsuitable, hierarchical::all_gather,
       hierarchical::cost, 1},
      {"hierarchical-doubling", kAllGather, hierarchical::unsuitable_doubling,
       hierarchical::all_gather_doubling, hierarchical::cost_gather_doubling, 1},
      {"ring", kAllGather, ring::unsuitable, ring::all_gather, ring::cost, 1},
      {"bruck", kAllGather, bruck::unsuitable, bruck::all_gather, bruck::cost, 1},

      {"local", kBroadcast, hierarchical::unsuitable_local, hierarchical::broadcast,
       hierarchical::cost, 1},
      {"hierarchical", kBroadcast, hierarchical::unsuitable, hierarchical::broadcast,
       hierarchical::cost, 1},
      {"ring", kBroadcast, ring::unsuitable, ring::broadcast, ring::cost, 1},
      {"tree", kBroadcast, tree::unsuitable, tree::broadcast, tree::cost, 2},

      {"local", kReduce, hierarchical::unsuitable_local, hierarchical::reduce, hierarchical::cost,
       1},
      {"hierarchical", kReduce, hierarchical::unsuitable, hierarchical::reduce, hierarchical::cost,
       1},
      {"ring", kReduce, ring::unsuitable, ring::reduce, ring::cost, 1},
      {"tree", kReduce, tree::unsuitable, tree::reduce, tree::cost, 2},

      {"local", kReduceScatter, hierarchical::unsuitable_local, hierarchical::reduce_scatter,
       hierarchical::cost, 1},
      {"hierarchical", kReduceScatter, hierarchical::unsuitable, hierarchical::reduce_scatter,
       hierarchical::cost, 1},
      {"hierarchical-halving", kReduceScatter, hierarchical::unsuitable_doubling,
       hierarchical::reduce_scatter_halving, hierarchical::cost_scatter_halving, 1},
      {"ring", kReduceScatter, ring::unsuitable, ring::reduce_scatter, ring::cost, 1},
      {"bruck", kReduceScatter, bruck::unsuitable, bruck::reduce_scatter, bruck::cost, 1},

      {"local", kAllToAll, local::unsuitable, local::all_to_all, local::cost, 1},
      {"direct", kAllToAll, direct::unsuitable, direct::all_to_all, direct::cost, 1},
      {"direct", kGather, direct::unsuitable, direct::gather, direct::cost, 1},
      {"local", kScatter, local::unsuitable, local::scatter, local::cost, 1},
      {"direct", kScatter, direct::unsuitable, direct::scatter, direct::cost, 1},
  };
  return all;
}

const Algorithm* find_algorithm(Collective collective, std::string_view name) {
  const auto& all = catalog();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Algorithm& algorithm) {
    return algorithm.collective == collective && algorithm.name == name;
  });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace railccl
