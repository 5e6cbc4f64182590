// Which interfaces become rails: a pure function of the user's words and what the machine has. Any
// thread.
#pragma once

#include <span>
#include <string>

#include "src/base/status.h"
#include "transport/tcp/interfaces.h"
#include "transport/tcp/tcp_transport.h"

namespace railccl::tcp {

Result<TcpDiscovery> select_rails(const TcpDiscoveryOptions& options,
                                  std::span<const NetworkInterface> interfaces);

}  // namespace railccl::tcp
