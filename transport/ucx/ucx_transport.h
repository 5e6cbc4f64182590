// The UCX transport's way in: one rail over one device of UCX. Everything else in this folder is
// internal. Which devices there are, the discoveries of the TCP and verbs transports say: a network
// interface or an RDMA port has the same name there and in UCX.
//
//   RAILCCL_ASSIGN(std::unique_ptr<Rail> rail, open_ucx_rail(ucx_rail_over(tcp.info), {}));
//
// Any thread may call these; the Rail belongs to one thread at a time (transport/rail.h). UCX
// itself has one thread, which accepts connections; the end of a connection has one of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "transport/net/socket_address.h"
#include "transport/rail.h"

namespace railccl {

struct UcxRailConfig {
  RailInfo info;
  std::string device;          // as UCX_NET_DEVICES names it: "eth0", "mlx5_0:1"
  bool rdma = false;           // an RDMA port, not a network interface
  std::string interface;       // whose link is the rail's; empty: not known
  net::SocketAddress address;  // that the interface must keep; without a family: none
};

// One of UCX's own settings, without the UCX_ in front.
struct UcxSetting {
  std::string name;
  std::string value;
};

struct UcxRailOptions {
  // RAILCCL_UCX_TLS, as UCX_TLS. Never those inside a host: a rail's data goes through its port.
  std::string transports = "^self,sm";
  std::vector<UcxSetting> rdma_settings;  // for RDMA ports only
  TimeNs connect_timeout_ns = 20 * kSecond;
  TimeNs farewell_timeout_ns = 100 * kMillisecond;  // of an idle endpoint's word to its peer
  TimeNs drain_timeout_ns = kSecond;           // of a closed endpoint's requests, then without them
  size_t rendezvous_bytes = 16384;             // puts from this size on are fetched by the target
  size_t max_outstanding_puts = 128;           // per endpoint
  size_t max_queued_bytes = size_t{32} << 20;  // per endpoint, not yet placed
};

// Whether this build and this machine have UCX; an error says what is missing.
Status ucx_available();

// The rail over UCX of a port that another transport's discovery has found. UCX itself chooses the
// address of an interface that has several.
UcxRailConfig ucx_rail_over(const RailInfo& port);

Result<std::unique_ptr<Rail>> open_ucx_rail(const UcxRailConfig& config,
                                            const UcxRailOptions& options);

}  // namespace railccl
