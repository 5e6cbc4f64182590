#include "src/compute/cache.h"

#include <hwloc.h>

#include <algorithm>
#include <memory>

namespace railccl {
namespace {

constexpr uint64_t kUnknownCacheBytes = 1 << 20;

struct DestroyTopology {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, DestroyTopology>;

Topology load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return nullptr;
  Topology topology(raw);
  return hwloc_topology_load(raw) == 0 ? std::move(topology) : nullptr;
}

// The largest share that any cache above core 0 gives it: a private L2 may exceed a shared L3's.
uint64_t find_cache_bytes_per_core() {
  const Topology topology = load_topology();
  if (topology == nullptr) return kUnknownCacheBytes;
  uint64_t share = 0;
  hwloc_obj_t object = hwloc_get_obj_by_type(topology.get(), HWLOC_OBJ_PU, 0);
  for (; object != nullptr; object = object->parent) {
    if (!hwloc_obj_type_is_dcache(object->type)) continue;
    const int cores = std::max(
        1, hwloc_get_nbobjs_inside_cpuset_by_type(topology.get(), object->cpuset, HWLOC_OBJ_CORE));
    share = std::max(share, object->attr->cache.size / static_cast<uint64_t>(cores));
  }
  return share > 0 ? share : kUnknownCacheBytes;
}

}  // namespace

uint64_t cache_bytes_per_core() {
  static const uint64_t bytes = find_cache_bytes_per_core();
  return bytes;
}

}  // namespace railccl
