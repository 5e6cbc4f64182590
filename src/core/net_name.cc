#include "src/core/net_name.h"

#include <array>
#include <utility>

#include "src/base/setting_value.h"

namespace railccl {

std::optional<TransportKind> transport_of_net(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, TransportKind>, 5> kNames = {
      {{"ib", TransportKind::kVerbs},
       {"verbs", TransportKind::kVerbs},
       {"socket", TransportKind::kTcp},
       {"tcp", TransportKind::kTcp},
       {"ucx", TransportKind::kUcx}}};
  for (const auto& [known, transport] : kNames) {
    if (same_word(known, name)) return transport;
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
