#include <filesystem>
#include <fstream>

#include "transport/ucx/ucx_transport.h"

namespace railccl {
namespace {

constexpr size_t kMostPutBytes = size_t{1} << 30;

// The network interface of an RDMA port "mlx5_0:1"; empty: none, as on InfiniBand.
std::string interface_of_port(const std::string& device) {
  const size_t colon = device.find(':');
  const auto folder = std::filesystem::path("/sys/class/infiniband") / device.substr(0, colon) /
                      "ports" / device.substr(colon + 1) / "gid_attrs" / "ndevs";
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder, problem)) {
    std::string name;
    if (std::ifstream(entry.path()) >> name) return name;
  }
  return {};
}

}  // namespace

UcxRailConfig ucx_rail_over(const RailInfo& port) {
  // TCP rails may be named interface@address.
  UcxRailConfig config{.info = port, .device = port.name.substr(0, port.name.find('@'))};
  config.info.transport = TransportKind::kUcx;
  config.info.memory_kinds = static_cast<uint32_t>(MemoryKind::kHost);
  config.info.max_put_bytes = kMostPutBytes;
  config.info.collects_puts = false;
  config.rdma = port.transport == TransportKind::kVerbs;
  if (config.rdma) {
    config.interface = interface_of_port(config.device);
  } else {
    config.interface = config.device;
    config.address = net::SocketAddress::parse(port.address).value_or(net::SocketAddress{});
  }
  return config;
}

}  // namespace railccl
