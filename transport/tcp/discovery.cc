#include "transport/tcp/interfaces.h"
#include "transport/tcp/rail_selection.h"
#include "transport/tcp/tcp_transport.h"

namespace railccl {

Result<TcpDiscovery> discover_tcp_rails(const TcpDiscoveryOptions& options) {
  RAILCCL_ASSIGN(const auto interfaces, tcp::read_interfaces("/sys"));
  return tcp::select_rails(options, interfaces);
}

}  // namespace railccl
