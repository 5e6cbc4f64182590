#include "src/core/machine_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace railccl {

using nlohmann::json;

json machine_as_json(const MachineShape& shape) {
  json caches = json::array();
  for (const CacheLevel& cache : shape.caches) {
    caches.push_back({{"level", cache.level}, {"bytes", cache.bytes}, {"cores", cache.cores}});
  }
  return {{"packages", shape.packages},
          {"numa_nodes", shape.numa_nodes},
          {"cores", shape.cores},
          {"threads", shape.threads},
          {"caches", caches},
          {"own_numa_nodes", shape.own_numa_nodes},
          {"cache_bytes_per_core", shape.cache_bytes_per_core}};
}

std::string machine_as_text(const json& machine) {
  std::string text = fmt::format("machine: {} packages, {} NUMA nodes, {} cores, {} threads",
                                 machine["packages"].get<int>(), machine["numa_nodes"].get<int>(),
                                 machine["cores"].get<int>(), machine["threads"].get<int>());
  for (const json& cache : machine["caches"]) {
    text += fmt::format(", L{} {} KiB", cache["level"].get<int>(),
                        cache["bytes"].get<uint64_t>() / 1024);
    const int cores = cache["cores"].get<int>();
    if (cores > 1) text += fmt::format(" for {} cores", cores);
  }
  return text + fmt::format(
                    "\nthis process: on NUMA nodes {}; data above {} KiB per rank is not "
                    "expected to stay in the cache\n",
                    fmt::join(machine["own_numa_nodes"].get<std::vector<int>>(), ", "),
                    machine["cache_bytes_per_core"].get<uint64_t>() / 1024);
}

json rail_as_json(const RailInfo& info, const PciPlace& place) {
  return {{"name", info.name},
          {"transport", transport_name(info.transport)},
          {"address", info.address},
          {"megabits_per_second", info.bytes_per_second / 125000},
          {"numa_node", info.numa_node >= 0 ? info.numa_node : place.numa_node},
          {"pci", info.pci_address},
          {"distance", place.known ? pci_distance_name(place.distance) : "not known"},
          {"adapter", info.adapter}};
}

std::string rail_as_text(const json& rail) {
  std::string text = fmt::format(
      "  {} {} {} {} Mbit/s", rail["transport"].get<std::string>(), rail["name"].get<std::string>(),
      rail["address"].get<std::string>(), rail["megabits_per_second"].get<uint64_t>());
  const auto pci = rail["pci"].get<std::string>();
  if (!pci.empty()) {
    text += fmt::format(", PCI {}, NUMA node {}, distance: {}", pci, rail["numa_node"].get<int>(),
                        rail["distance"].get<std::string>());
  }
  if (rail.value("standby", false)) {
    text += ", stands by: last resort towards peers that no other rail reaches";
  }
  return text + "\n";
}

}  // namespace railccl
