// The TCP transport's way in: find the rails of this machine, open one. Everything else in this
// folder is internal.
//
//   RAILCCL_ASSIGN(TcpDiscovery found, discover_tcp_rails({.interface_spec = "eth"}));
//   RAILCCL_ASSIGN(std::unique_ptr<Rail> rail, open_tcp_rail(found.rails[0], {}));
//
// Any thread may call these; the Rail belongs to one thread at a time (transport/rail.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "transport/net/socket_address.h"
#include "transport/rail.h"

namespace railccl {

struct TcpDiscoveryOptions {
  // RAILCCL_SOCKET_IFNAME: `[^][=]prefix[@address],...`. `^`: all but these; `=`: whole names, not
  // prefixes; `@address`: this address of the interface (on loopback any of 127.0.0.0/8), which
  // also makes several rails on one interface possible. Rails come in the order of the items.
  // Empty: all interfaces that are up and have an address, but for loopback, docker* and virbr*;
  // loopback alone when nothing else is there.
  std::string interface_spec;
  // Whole names (RAILCCL_RAILS) that count although they are down, as `=name` and `name@address`
  // do: the rail joins when its port comes up.
  std::vector<std::string> expected;
  int family = 0;  // RAILCCL_SOCKET_FAMILY: 0 (IPv4 first), AF_INET or AF_INET6
};

struct TcpRailConfig {
  RailInfo info;
  std::string interface_name;
  net::SocketAddress address;  // port 0: chosen by the kernel
  int prefix_bits = 0;         // of the subnet of `address`
};

struct TcpDiscovery {
  std::vector<TcpRailConfig> rails;
  std::vector<std::string> warnings;  // for the log: rails in one subnet, items that match nothing
};

Result<TcpDiscovery> discover_tcp_rails(const TcpDiscoveryOptions& options);

struct TcpRailOptions {
  TimeNs connect_timeout_ns = 20 * kSecond;  // connect() to kConnected, over all attempts
  TimeNs attempt_timeout_ns = 2 * kSecond;   // one attempt to dial, before the next
  TimeNs stranger_timeout_ns = 5 * kSecond;  // an incoming connection has to prove itself
  TimeNs silence_timeout_ns = 15 * kSecond;  // sent data that the peer's host does not acknowledge
  size_t max_strangers = 64;                 // unproven incoming connections at a time
  size_t small_put_bytes = 36864;  // up to this: over the socket for small puts; any message
  size_t max_queued_bytes = size_t{32} << 20;  // per endpoint and socket, not yet sent
  size_t max_outstanding_puts = 1024;          // per endpoint and socket, not yet acknowledged
  int send_buffer_bytes = 0;                   // SO_SNDBUF of the bulk socket; 0: the kernel tunes
  int receive_buffer_bytes = 0;                // SO_RCVBUF of the bulk socket; 0: the kernel tunes
  // RAILCCL_SOCKET_CONGESTION: "auto", "system" (what the system has as its default) or a name.
  std::string congestion_control = "auto";
  bool bind_to_device = true;  // SO_BINDTODEVICE, so that routing keeps the NIC
  // What an operator should know (strangers, routing that mixes rails): each kind once per rail,
  // from the owner's thread. May be empty.
  std::function<void(std::string_view)> warn;
};

Result<std::unique_ptr<Rail>> open_tcp_rail(const TcpRailConfig& config,
                                            const TcpRailOptions& options);

}  // namespace railccl
