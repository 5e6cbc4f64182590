// Names of networks as NCCL_NET and ncclConfig_t.netName have them, and ours. Pure.
#pragma once

#include <optional>
#include <string_view>

#include "src/base/setting.h"
#include "src/base/settings.h"
#include "src/base/status.h"
#include "transport/rail.h"

namespace railccl {

// "IB" and "verbs", "Socket" and "tcp", "ucx", in any case.
std::optional<TransportKind> transport_of_net(std::string_view name);
constexpr std::string_view kNetNames = "IB (or verbs), Socket (or tcp), ucx";

// RAILCCL_TRANSPORT, or RAILCCL_NET when that says nothing.
struct TransportWish {
  TransportChoice choice = TransportChoice::kAuto;
  Setting from = Setting::kTransport;  // which of the two, for messages
};
Result<TransportWish> wished_transport(const Settings& settings);

}  // namespace railccl
