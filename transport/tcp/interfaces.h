// What this machine's network interfaces are, as data: read from the kernel (getifaddrs) and sysfs.
// Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/status.h"
#include "transport/net/socket_address.h"

namespace railccl::tcp {

struct InterfaceAddress {
  net::SocketAddress address;
  int prefix_bits = 0;
};

struct NetworkInterface {
  std::string name;
  bool up = false;  // up, with a carrier
  bool loopback = false;
  std::vector<InterfaceAddress> addresses;  // in the kernel's order
  uint64_t bytes_per_second = 0;            // 0: unknown
  int numa_node = -1;
  std::string pci_address;  // empty: not a PCI device
};

// In the kernel's order. `sysfs` is "/sys" but for tests.
Result<std::vector<NetworkInterface>> read_interfaces(const std::string& sysfs);

}  // namespace railccl::tcp
