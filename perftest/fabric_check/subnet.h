// The subnet of a rail's address, so that rails that are plugged or named crosswise can be seen.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace railccl::perftest::fabric {

struct InterfaceAddress {
  std::string address;  // "10.1.0.3", "fe80::1"
  int prefix = 0;       // bits
};

// Of this host, from the system.
std::vector<InterfaceAddress> interface_addresses();

// "10.1.0.0/24" for an IPv4 or IPv6 address (also as a GID, "::ffff:10.1.0.3") of one of the
// interfaces; the first 64 bits of any other GID; empty when that says nothing (link-local) or the
// text is no address. Pure.
std::string subnet_of(std::string_view address, const std::vector<InterfaceAddress>& interfaces);

}  // namespace railccl::perftest::fabric
