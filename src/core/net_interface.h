// The network interfaces of this machine, and which of them the bootstrap uses. choose_interface is
// pure; list_interfaces asks the system. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/status.h"
#include "src/core/net_address.h"

namespace railccl::boot {

struct Interface {
  std::string name;
  SocketAddress address;  // port 0
};

// Interfaces that are up, one entry for each IPv4 or IPv6 address.
Result<std::vector<Interface>> list_interfaces();

// `spec` as NCCL_SOCKET_IFNAME: "eth,ib" names that begin so, "=eth0" exactly that name, "^docker"
// none that begin so, "^=eth0" all but that one. Empty: the first one that is neither loopback,
// docker nor link-local, else the best there is. `family` 0: any, IPv4 first.
Result<Interface> choose_interface(std::string_view spec, int family,
                                   const std::vector<Interface>& all);

}  // namespace railccl::boot
