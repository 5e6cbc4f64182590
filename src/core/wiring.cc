#include "src/core/wiring.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>

#include "src/base/log.h"
#include "src/base/setting.h"
#include "src/core/net_name.h"
#include "transport/tcp/tcp_transport.h"

namespace railccl {
namespace {

int socket_family(const Settings& settings) {
  switch (settings.get_choice<FamilyChoice>(Setting::kSocketFamily)) {
    case FamilyChoice::kAny:
      return AF_UNSPEC;
    case FamilyChoice::kInet:
      return AF_INET;
    case FamilyChoice::kInet6:
      return AF_INET6;
  }
  return AF_UNSPEC;
}

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

// RAILCCL_RAILS picks and orders what discovery has found.
Result<std::vector<TcpRailConfig>> pick(const Settings& settings,
                                        const std::vector<TcpRailConfig>& found) {
  const std::vector<std::string> wanted = split_names(settings.get_text(Setting::kRails));
  if (wanted.empty()) return found;
  std::vector<TcpRailConfig> picked;
  for (const std::string& name : wanted) {
    const auto match = std::find_if(found.begin(), found.end(), [&](const TcpRailConfig& rail) {
      return rail.info.name == name;
    });
    if (match == found.end()) {
      std::vector<std::string> names;
      for (const TcpRailConfig& rail : found) names.push_back(rail.info.name);
      return settings.bad_value(
          Setting::kRails,
          fmt::format("names of rails of this host, which has: {}", fmt::join(names, ", ")));
    }
    picked.push_back(*match);
  }
  return picked;
}

TcpRailOptions rail_options(const Settings& settings) {
  TcpRailOptions options;
  options.send_buffer_bytes = static_cast<int>(settings.get_bytes(Setting::kSocketSndbuf));
  options.receive_buffer_bytes = static_cast<int>(settings.get_bytes(Setting::kSocketRcvbuf));
  options.congestion_control = settings.get_text(Setting::kSocketCongestion);
  options.warn = [](std::string_view text) { RAILCCL_WARN(Subsys::kNet, "{}", text); };
  return options;
}

}  // namespace

Result<std::vector<std::unique_ptr<Rail>>> open_rails(const Settings& settings) {
  RAILCCL_ASSIGN(const TransportWish wish, wished_transport(settings));
  const TransportChoice transport = wish.choice;
  if (transport == TransportChoice::kVerbs || transport == TransportChoice::kUcx) {
    return settings.bad_value(wish.from, wish.from == Setting::kNet
                                             ? "Socket or tcp: this build has tcp rails only"
                                             : "auto or tcp: this build has tcp rails only");
  }
  const auto found =
      discover_tcp_rails({.interface_spec = settings.get_text(Setting::kSocketIfname),
                          .family = socket_family(settings)});
  if (!found) {
    return Error(found.error().with_context(
        "looking for TCP rails (RAILCCL_SOCKET_IFNAME, RAILCCL_SOCKET_FAMILY)"));
  }
  const TcpDiscovery& discovery = *found;
  for (const std::string& warning : discovery.warnings) RAILCCL_WARN(Subsys::kNet, "{}", warning);
  RAILCCL_ASSIGN(const std::vector<TcpRailConfig> picked, pick(settings, discovery.rails));
  std::vector<std::unique_ptr<Rail>> rails;
  for (const TcpRailConfig& config : picked) {
    RAILCCL_ASSIGN(auto rail, open_tcp_rail(config, rail_options(settings)));
    const RailInfo& info = rail->info();
    RAILCCL_INFO(Subsys::kNet, "rail {}: {} {}, {} Mbit/s, address {}", rails.size(),
                 transport_name(info.transport), info.name, info.bytes_per_second / 125000,
                 info.address);
    rails.push_back(std::move(rail));
  }
  return rails;
}

}  // namespace railccl
