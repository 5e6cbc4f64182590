// The generators, one file per family; the catalog puts them together. Everything here is pure,
// and for shapes that `unsuitable` lets pass. Used by catalog.cc and tests only.
#pragma once

#include <string>

#include "algorithms/schedule.h"

namespace railccl::algorithms {

namespace ring {  // ring.cc
std::string unsuitable(const Shape& shape);
Schedule all_reduce(const Shape& shape, int rank);
Schedule all_gather(const Shape& shape, int rank);
Schedule broadcast(const Shape& shape, int rank);
Schedule reduce(const Shape& shape, int rank);
Schedule reduce_scatter(const Shape& shape, int rank);
Cost cost(const Shape& shape);
}  // namespace ring

namespace tree {  // tree.cc
std::string unsuitable(const Shape& shape);
Schedule all_reduce(const Shape& shape, int rank);
Schedule broadcast(const Shape& shape, int rank);
Schedule reduce(const Shape& shape, int rank);
Cost cost(const Shape& shape);
}  // namespace tree

// hierarchical.cc. On one node there is nothing between nodes, and what is left is called local.
namespace hierarchical {
std::string unsuitable(const Shape& shape);
std::string unsuitable_local(const Shape& shape);
// For AllGather, and ReduceScatter by halving.
std::string unsuitable_doubling(const Shape& shape);
Schedule all_reduce(const Shape& shape, int rank);
Schedule all_reduce_doubling(const Shape& shape, int rank);
Schedule all_reduce_halving(const Shape& shape, int rank);
Schedule all_gather(const Shape& shape, int rank);
Schedule all_gather_doubling(const Shape& shape, int rank);
Schedule reduce_scatter_halving(const Shape& shape, int rank);
Schedule broadcast(const Shape& shape, int rank);
Schedule reduce(const Shape& shape, int rank);
Schedule reduce_scatter(const Shape& shape, int rank);
Cost cost(const Shape& shape);
Cost cost_doubling(const Shape& shape);
Cost cost_halving(const Shape& shape);
Cost cost_gather_doubling(const Shape& shape);
Cost cost_scatter_halving(const Shape& shape);
}  // namespace hierarchical

namespace doubling {  // doubling.cc
std::string unsuitable(const Shape& shape);
Schedule all_reduce(const Shape& shape, int rank);
Cost cost(const Shape& shape);
}  // namespace doubling

namespace bruck {  // bruck.cc
std::string unsuitable(const Shape& shape);
Schedule all_gather(const Shape& shape, int rank);
Schedule reduce_scatter(const Shape& shape, int rank);
Cost cost(const Shape& shape);
}  // namespace bruck

namespace direct {  // direct.cc
std::string unsuitable(const Shape& shape);
Schedule all_to_all(const Shape& shape, int rank);
Schedule gather(const Shape& shape, int rank);
Schedule scatter(const Shape& shape, int rank);
Cost cost(const Shape& shape);
}  // namespace direct

namespace local {  // local.cc: AlltoAll and Scatter inside one node
std::string unsuitable(const Shape& shape);
Schedule all_to_all(const Shape& shape, int rank);
Schedule scatter(const Shape& shape, int rank);
Cost cost(const Shape& shape);
}  // namespace local

}  // namespace railccl::algorithms
