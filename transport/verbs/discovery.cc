#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "transport/verbs/hca_selection.h"
#include "transport/verbs/verbs_device.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl {
namespace verbs {
namespace {

constexpr size_t kMostPutBytes = size_t{1} << 30;
constexpr TimeNs kFirstLatency = 3 * kMicrosecond;
constexpr TimeNs kFirstPut = kMicrosecond;
// Of Soft-RoCE and siw, where the kernel does the work.
constexpr std::array<uint32_t, 2> kSoftwareVendors = {0xffffff, 0x626d74};
constexpr TimeNs kSoftwareLatency = 30 * kMicrosecond;
constexpr TimeNs kSoftwarePut = 5 * kMicrosecond;
constexpr uint64_t kBytesPerGigabit = 1'000'000'000 / 8;

struct FoundPort {
  HcaPort port;
  std::string sysfs;  // "/sys/class/infiniband/mlx5_0"
};

// A number at the beginning of a sysfs file; `otherwise` where there is none.
double read_number(const std::filesystem::path& path, double otherwise) {
  std::ifstream file(path);
  double value = otherwise;
  return file >> value ? value : otherwise;
}

// "0000:41:00.0"; empty: not a PCI device.
std::string pci_address_of(const std::filesystem::path& device) {
  std::error_code problem;
  const std::string name = std::filesystem::canonical(device, problem).filename().string();
  static constexpr std::string_view kShape = "xxxx:xx:xx.x";
  const bool fits =
      name.size() == kShape.size() &&
      std::equal(name.begin(), name.end(), kShape.begin(), [](char c, char shape) {
        return shape == 'x' ? std::isxdigit(static_cast<unsigned char>(c)) != 0 : c == shape;
      });
  return fits ? name : std::string();
}

// All ports of one device; a device that cannot be opened is a warning.
void list_ports(const VerbsApi& api, ibv_device* device, std::vector<FoundPort>& ports,
                std::vector<std::string>& warnings) {
  const std::string name = api.get_device_name(device);
  const auto opened = VerbsDevice::open(api, name, 1);
  if (!opened) {
    warnings.emplace_back(opened.error().message());
    return;
  }
  for (int port = 1; port <= (*opened)->attributes().phys_port_cnt; ++port) {
    ports.push_back({.port = {.device = name, .port = port}, .sysfs = device->ibdev_path});
  }
}

Result<std::vector<FoundPort>> list_ports(const VerbsApi& api, int& devices,
                                          std::vector<std::string>& warnings) {
  int count = 0;
  ibv_device** list = api.get_device_list(&count);
  if (list == nullptr && errno == ENOSYS) {
    return error(Code::kSystemError, "this kernel offers no RDMA devices: ib_uverbs is not loaded");
  }
  if (list == nullptr) return system_error(errno, "ibv_get_device_list");
  std::vector<FoundPort> ports;
  for (int i = 0; i < count; ++i) list_ports(api, list[i], ports, warnings);
  api.free_device_list(list);
  devices = count;
  if (count == 0) warnings.emplace_back("libibverbs finds no RDMA device");
  return ports;
}

RailInfo describe(const FoundPort& found, const VerbsDevice& device,
                  const ibv_port_attr& attributes) {
  const std::filesystem::path sysfs = found.sysfs;
  const std::string pci = pci_address_of(sysfs / "device");
  const double gigabits =
      read_number(sysfs / "ports" / std::to_string(found.port.port) / "rate", 0);
  const bool software =
      std::ranges::find(kSoftwareVendors, device.attributes().vendor_id) != kSoftwareVendors.end();
  auto kinds = static_cast<uint32_t>(MemoryKind::kHost);
  if (device.takes_dmabuf()) kinds |= static_cast<uint32_t>(MemoryKind::kDmabuf);
  return {.name = found.port.name(),
          .transport = TransportKind::kVerbs,
          .bytes_per_second = static_cast<uint64_t>(gigabits * kBytesPerGigabit),
          .latency_ns = software ? kSoftwareLatency : kFirstLatency,
          .put_ns = software ? kSoftwarePut : kFirstPut,
          .numa_node = static_cast<int>(read_number(sysfs / "device" / "numa_node", -1)),
          .pci_address = pci,
          // The functions of one adapter share its slot.
          .adapter = pci.substr(0, pci.find('.')),
          .memory_kinds = kinds,
          .max_put_bytes = std::min<size_t>(attributes.max_msg_sz, kMostPutBytes)};
}

// An error: the port is no rail, and why.
Result<VerbsRailConfig> inspect(const VerbsApi& api, const FoundPort& found, GidWish wish) {
  const auto port = static_cast<uint8_t>(found.port.port);
  RAILCCL_ASSIGN(const auto device, VerbsDevice::open(api, found.port.device, port));
  RAILCCL_ASSIGN(const ibv_port_attr attributes, device->query_port());
  if (attributes.state != IBV_PORT_ACTIVE) {
    return error(Code::kRailFailed, "the port is {}; a port is a rail if it is up at the start",
                 api.port_state_str(attributes.state));
  }
  RAILCCL_ASSIGN(const std::vector<GidEntry> gids, device->query_gids());
  wish.ethernet = attributes.link_layer == IBV_LINK_LAYER_ETHERNET;
  RAILCCL_ASSIGN(const GidEntry gid, choose_gid(gids, wish));
  VerbsRailConfig config{
      .info = describe(found, *device, attributes), .device = found.port.device, .port = port};
  config.info.address = gid_text(gid.gid);
  return config;
}

}  // namespace
}  // namespace verbs

Result<VerbsDiscovery> discover_verbs_rails(const VerbsDiscoveryOptions& options) {
  RAILCCL_ASSIGN(const verbs::VerbsApi* api, verbs::load_verbs());
  return discover_verbs_rails(options, *api);
}

Result<VerbsDiscovery> discover_verbs_rails(const VerbsDiscoveryOptions& options,
                                            const verbs::VerbsApi& api) {
  VerbsDiscovery discovery;
  RAILCCL_ASSIGN(const auto found, verbs::list_ports(api, discovery.devices, discovery.warnings));
  std::vector<verbs::HcaPort> names;
  for (const verbs::FoundPort& one : found) names.push_back(one.port);
  RAILCCL_ASSIGN(const auto selection, verbs::select_ports(options.hca_spec, names));
  for (const std::string& text : selection.warnings) discovery.warnings.push_back(text);
  for (const size_t index : selection.ports) {
    auto config = verbs::inspect(api, found[index], options.gid);
    if (config) {
      discovery.rails.push_back(std::move(*config));
    } else {
      discovery.warnings.push_back(
          fmt::format("RDMA port {}: {}", names[index].name(), config.error().message()));
    }
  }
  return discovery;
}

}  // namespace railccl
