#include "src/core/net_name.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <utility>

namespace railccl {

std::optional<TransportKind> transport_of_net(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, TransportKind>, 5> kNames = {
      {{"ib", TransportKind::kVerbs},
       {"verbs", TransportKind::kVerbs},
       {"socket", TransportKind::kTcp},
       {"tcp", TransportKind::kTcp},
       {"ucx", TransportKind::kUcx}}};
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const auto& [known, transport] : kNames) {
    if (known == lower) return transport;
  }
  return std::nullopt;
}

Result<TransportWish> wished_transport(const Settings& settings) {
  const std::string& net = settings.get_text(Setting::kNet);
  const auto transport = transport_of_net(net);
  if (!net.empty() && !transport) return settings.bad_value(Setting::kNet, kNetNames);
  if (net.empty() || settings.is_set(Setting::kTransport)) {
    return TransportWish{.choice = settings.get_choice<TransportChoice>(Setting::kTransport)};
  }
  switch (*transport) {
    case TransportKind::kVerbs:
      return TransportWish{.choice = TransportChoice::kVerbs, .from = Setting::kNet};
    case TransportKind::kUcx:
      return TransportWish{.choice = TransportChoice::kUcx, .from = Setting::kNet};
    default:
      return TransportWish{.choice = TransportChoice::kTcp, .from = Setting::kNet};
  }
}

}  // namespace railccl
