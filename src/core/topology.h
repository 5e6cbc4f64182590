// The machine: packages, NUMA nodes, caches, and how far its NICs are from the cores that this
// process may run on. From hwloc, or from an XML file that describes another machine. Immutable;
// any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/settings.h"
#include "src/base/status.h"

struct hwloc_topology;

namespace railccl {

// From a PCI device to the cores of this process.
enum class PciDistance : uint8_t {
  kSameNuma,      // or not known
  kSamePackage,   // another NUMA node of the package
  kOtherPackage,  // through the link between the processors
};
std::string_view pci_distance_name(PciDistance distance);

struct PciPlace {
  bool known = false;
  int numa_node = -1;
  PciDistance distance = PciDistance::kSameNuma;
};

struct CacheLevel {
  int level = 0;
  uint64_t bytes = 0;
  int cores = 1;  // that share one
};

struct MachineShape {
  int packages = 0;
  int numa_nodes = 0;
  int cores = 0;
  int threads = 0;
  std::vector<CacheLevel> caches;   // data caches of one core, nearest first
  std::vector<int> own_numa_nodes;  // of the cores of this process
  // Largest share of a core in any cache above it.
  uint64_t cache_bytes_per_core = 1 << 20;  // where the machine does not say
};

class Topology {
 public:
  // This machine, or what RAILCCL_TOPO_FILE describes; written to RAILCCL_TOPO_DUMP_FILE.
  static Result<Topology> create(const Settings& settings);
  static Result<Topology> from_machine();
  // Text of an XML file of hwloc; the process counts as running anywhere unless `cpus` (hwloc's
  // list syntax, "0-3") says where.
  static Result<Topology> from_xml(const std::string& text, const std::string& cpus = "");

  const MachineShape& shape() const { return shape_; }
  // By address ("0000:41:00.0"); not known: no such device here, or the machine does not say.
  PciPlace place_of(const std::string& pci_address) const;
  Status write_xml(const std::string& path) const;

 private:
  struct Destroy {
    void operator()(hwloc_topology* topology) const;
  };
  using Handle = std::unique_ptr<hwloc_topology, Destroy>;
  Topology(Handle handle, std::vector<unsigned> own_cpus);

  Handle handle_;
  std::vector<unsigned> own_cpus_;
  MachineShape shape_;
};

}  // namespace railccl
