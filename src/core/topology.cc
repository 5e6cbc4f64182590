#include "src/core/topology.h"

#include <fmt/format.h>
#include <hwloc.h>
#include <hwloc/helper.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "src/base/log.h"
#include "src/base/path_pattern.h"
#include "src/base/write_file.h"
#include "src/core/output_file.h"

namespace railccl {
namespace {

struct FreeBitmap {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

Bitmap bitmap_of(const std::vector<unsigned>& bits) {
  Bitmap bitmap(hwloc_bitmap_alloc());
  for (const unsigned bit : bits) hwloc_bitmap_set(bitmap.get(), bit);
  return bitmap;
}

std::vector<unsigned> bits_of(hwloc_const_bitmap_t bitmap) {
  std::vector<unsigned> bits;
  for (int bit = hwloc_bitmap_first(bitmap); bit >= 0; bit = hwloc_bitmap_next(bitmap, bit)) {
    bits.push_back(static_cast<unsigned>(bit));
  }
  return bits;
}

std::vector<CacheLevel> caches_of(hwloc_topology* topology) {
  std::vector<CacheLevel> caches;
  hwloc_obj_t object = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, 0);
  for (; object != nullptr; object = object->parent) {
    if (hwloc_obj_type_is_dcache(object->type) == 0) continue;
    const int cores =
        hwloc_get_nbobjs_inside_cpuset_by_type(topology, object->cpuset, HWLOC_OBJ_CORE);
    caches.push_back({.level = static_cast<int>(object->attr->cache.depth),
                      .bytes = object->attr->cache.size,
                      .cores = std::max(1, cores)});
  }
  return caches;
}

std::vector<int> numa_nodes_of(hwloc_topology* topology, hwloc_const_cpuset_t cpus) {
  const Bitmap nodes(hwloc_bitmap_alloc());
  hwloc_cpuset_to_nodeset(topology, cpus, nodes.get());
  std::vector<int> numbers;
  for (const unsigned node : bits_of(nodes.get())) numbers.push_back(static_cast<int>(node));
  return numbers;
}

MachineShape shape_of(hwloc_topology* topology, const std::vector<unsigned>& own_cpus) {
  const auto count = [topology](hwloc_obj_type_t type) {
    return std::max(0, hwloc_get_nbobjs_by_type(topology, type));
  };
  MachineShape shape{.packages = count(HWLOC_OBJ_PACKAGE),
                     .numa_nodes = count(HWLOC_OBJ_NUMANODE),
                     .cores = count(HWLOC_OBJ_CORE),
                     .threads = count(HWLOC_OBJ_PU),
                     .caches = caches_of(topology),
                     .own_numa_nodes = numa_nodes_of(topology, bitmap_of(own_cpus).get())};
  // A private second-level cache may exceed the share in the third.
  uint64_t share = 0;
  for (const CacheLevel& cache : shape.caches) {
    share = std::max(share, cache.bytes / static_cast<uint64_t>(cache.cores));
  }
  if (share > 0) shape.cache_bytes_per_core = share;
  return shape;
}

// The object of this type that covers `object`; null: none.
hwloc_obj_t covering(hwloc_topology* topology, hwloc_obj_type_t type, hwloc_obj_t object) {
  return hwloc_get_ancestor_obj_by_type(topology, type, object);
}

Result<std::string> text_of(const Settings& settings, const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return settings.bad_value(Setting::kTopoFile, "a file that can be read, or nothing");
  }
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::string_view pci_distance_name(PciDistance distance) {
  switch (distance) {
    case PciDistance::kSameNuma:
      return "same NUMA node";
    case PciDistance::kSamePackage:
      return "other NUMA node of the package";
    case PciDistance::kOtherPackage:
      return "other package";
  }
  return "";
}

void Topology::Destroy::operator()(hwloc_topology* topology) const {
  hwloc_topology_destroy(topology);
}

Topology::Topology(Handle handle, std::vector<unsigned> own_cpus)
    : handle_(std::move(handle)),
      own_cpus_(std::move(own_cpus)),
      shape_(shape_of(handle_.get(), own_cpus_)) {}

Result<Topology> Topology::from_machine() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return system_error(errno, "hwloc_topology_init");
  Handle handle(raw);
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  if (hwloc_topology_load(raw) != 0) return system_error(errno, "hwloc_topology_load");
  const Bitmap cpus(hwloc_bitmap_alloc());
  if (hwloc_get_cpubind(raw, cpus.get(), HWLOC_CPUBIND_THREAD) != 0) {
    hwloc_bitmap_copy(cpus.get(), hwloc_topology_get_topology_cpuset(raw));
  }
  return Topology(std::move(handle), bits_of(cpus.get()));
}

Result<Topology> Topology::from_xml(const std::string& text, const std::string& cpus) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return system_error(errno, "hwloc_topology_init");
  Handle handle(raw);
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  const auto bytes = static_cast<int>(text.size()) + 1;
  if (hwloc_topology_set_xmlbuffer(raw, text.c_str(), bytes) != 0 ||
      hwloc_topology_load(raw) != 0) {
    return error(Code::kInvalidUsage, "this is not a topology in hwloc's XML format");
  }
  const Bitmap own(hwloc_bitmap_alloc());
  if (cpus.empty()) {
    hwloc_bitmap_copy(own.get(), hwloc_topology_get_topology_cpuset(raw));
  } else if (hwloc_bitmap_list_sscanf(own.get(), cpus.c_str()) != 0) {
    return error(Code::kInvalidArgument, "'{}' is no list of cores", cpus);
  }
  return Topology(std::move(handle), bits_of(own.get()));
}

Result<Topology> Topology::create(const Settings& settings) {
  RAILCCL_TRY(check_output_file(settings, Setting::kTopoDumpFile));
  const std::string& path = settings.get_text(Setting::kTopoFile);
  Result<Topology> topology = from_machine();
  if (!path.empty()) {
    RAILCCL_ASSIGN(const std::string text, text_of(settings, path));
    // NCCL's own format, which machine images preset, starts with a <system>.
    if (text.find("<system") != std::string::npos) {
      RAILCCL_WARN(Subsys::kGraph,
                   "RAILCCL_TOPO_FILE {} is in NCCL's own format and is not used; give hwloc's XML "
                   "(lstopo FILE.xml, or RAILCCL_TOPO_DUMP_FILE)",
                   path);
    } else {
      topology = from_xml(text);
      if (!topology) {
        return settings.bad_value(Setting::kTopoFile,
                                  "a file in hwloc's XML format (lstopo FILE.xml)");
      }
    }
  }
  if (!topology) return topology;
  const std::string& dump = settings.get_text(Setting::kTopoDumpFile);
  if (!dump.empty()) RAILCCL_TRY(topology->write_xml(expand_path(dump)));
  return topology;
}

PciPlace Topology::place_of(const std::string& pci_address) const {
  if (pci_address.empty()) return {};
  hwloc_topology* const topology = handle_.get();
  hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(topology, pci_address.c_str());
  if (device == nullptr) return {};
  hwloc_obj_t local = hwloc_get_non_io_ancestor_obj(topology, device);
  const std::vector<int> nodes = numa_nodes_of(topology, local->cpuset);
  PciPlace place{.known = true, .numa_node = nodes.size() == 1 ? nodes[0] : -1};
  const Bitmap own = bitmap_of(own_cpus_);
  if (hwloc_bitmap_intersects(local->cpuset, own.get()) != 0) return place;
  hwloc_obj_t package =
      local->type == HWLOC_OBJ_PACKAGE ? local : covering(topology, HWLOC_OBJ_PACKAGE, local);
  const bool same_package =
      package != nullptr && hwloc_bitmap_intersects(package->cpuset, own.get()) != 0;
  place.distance = same_package ? PciDistance::kSamePackage : PciDistance::kOtherPackage;
  return place;
}

Status Topology::write_xml(const std::string& path) const {
  char* text = nullptr;
  int bytes = 0;
  if (hwloc_topology_export_xmlbuffer(handle_.get(), &text, &bytes, 0) != 0) {
    return system_error(errno, "hwloc_topology_export_xmlbuffer");
  }
  const Status written =
      write_file(path, std::string_view(text, static_cast<size_t>(std::max(0, bytes - 1))));
  hwloc_free_xmlbuffer(handle_.get(), text);
  return written;
}

}  // namespace railccl
