#include "transport/tcp/rail_selection.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "transport/tcp/wire.h"

namespace railccl::tcp {
namespace {

constexpr TimeNs kLatencyGuess = 15 * kMicrosecond;
constexpr TimeNs kLoopbackLatencyGuess = 8 * kMicrosecond;

struct Item {
  bool exact = false;
  std::string name;
  std::optional<net::SocketAddress> address;
  std::string text;  // as given

  bool matches(const NetworkInterface& interface) const {
    return exact ? interface.name == name : interface.name.starts_with(name);
  }
};

struct Filter {
  bool exclude = false;
  std::vector<Item> items;
};

Result<Item> parse_item(std::string_view text, bool all_exact) {
  Item item{.exact = all_exact, .text = std::string(text)};
  if (text.starts_with('=')) {
    item.exact = true;
    text.remove_prefix(1);
  }
  const size_t at = text.find('@');
  item.name = text.substr(0, at);
  if (item.name.empty()) {
    return error(Code::kInvalidArgument,
                 "'{}' names no interface; write [^][=]name[@address],... for example eth0,eth1",
                 item.text);
  }
  if (at != std::string_view::npos) {
    RAILCCL_ASSIGN(item.address, net::SocketAddress::parse(std::string(text.substr(at + 1))));
    item.exact = true;
  }
  return item;
}

Result<Filter> parse_filter(std::string_view spec) {
  Filter filter;
  if (spec.starts_with('^')) {
    filter.exclude = true;
    spec.remove_prefix(1);
  }
  const bool all_exact = spec.starts_with('=');
  if (all_exact) spec.remove_prefix(1);
  for (size_t begin = 0; begin <= spec.size();) {
    const size_t end = std::min(spec.find(',', begin), spec.size());
    RAILCCL_ASSIGN(Item item, parse_item(spec.substr(begin, end - begin), all_exact));
    if (filter.exclude && item.address) {
      return error(Code::kInvalidArgument, "'{}': an address cannot be excluded, only interfaces",
                   item.text);
    }
    filter.items.push_back(std::move(item));
    begin = end + 1;
  }
  return filter;
}

// The list for error messages: "eth0 (10.0.0.1), eth1 (down), lo (127.0.0.1)".
std::string describe(std::span<const NetworkInterface> interfaces) {
  std::string text;
  for (const NetworkInterface& one : interfaces) {
    if (!text.empty()) text += ", ";
    const std::string state = !one.up                 ? "down"
                              : one.addresses.empty() ? "no address"
                                                      : one.addresses.front().address.ip_text();
    text += fmt::format("{} ({})", one.name, state);
  }
  return text.empty() ? "none" : text;
}

// Global addresses before link-local ones, IPv4 before IPv6.
int preference(const net::SocketAddress& address) {
  return (address.is_link_local() ? 2 : 0) + (address.family() == AF_INET6 ? 1 : 0);
}

std::optional<InterfaceAddress> best_address(const NetworkInterface& interface, int family) {
  std::optional<InterfaceAddress> best;
  for (const InterfaceAddress& one : interface.addresses) {
    if (family != 0 && one.address.family() != family) continue;
    if (!best || preference(one.address) < preference(best->address)) best = one;
  }
  return best;
}

std::optional<InterfaceAddress> own_address(const NetworkInterface& interface,
                                            const net::SocketAddress& wanted) {
  for (const InterfaceAddress& one : interface.addresses) {
    if (one.address.same_ip(wanted)) return one;
  }
  // Every 127.x.y.z is loopback's without being listed.
  if (interface.loopback && wanted.family() == AF_INET && wanted.is_loopback()) {
    return InterfaceAddress{wanted, 8};
  }
  return std::nullopt;
}

// The device without its function: two ports of one card share a slot.
std::string adapter_of(const std::string& pci_address) {
  return pci_address.substr(0, pci_address.find('.'));
}

TcpRailConfig make_rail(const NetworkInterface& interface, const InterfaceAddress& address,
                        const std::string& name) {
  return {.info = {.name = name,
                   .transport = TransportKind::kTcp,
                   .bytes_per_second = interface.bytes_per_second,
                   .latency_ns = interface.loopback ? kLoopbackLatencyGuess : kLatencyGuess,
                   .numa_node = interface.numa_node,
                   .pci_address = interface.pci_address,
                   .adapter = adapter_of(interface.pci_address),
                   .address = address.address.ip_text(),
                   .memory_kinds = static_cast<uint32_t>(MemoryKind::kHost),
                   .max_put_bytes = kMaxPutBytes},
          .interface_name = interface.name,
          .address = address.address.with_port(0),
          .prefix_bits = address.prefix_bits};
}

bool is_taken(const TcpDiscovery& discovery, const std::string& rail_name) {
  return std::ranges::any_of(discovery.rails,
                             [&](const TcpRailConfig& one) { return one.info.name == rail_name; });
}

std::string_view family_text(int family) {
  return family == AF_INET ? " IPv4" : family == AF_INET6 ? " IPv6" : "";
}

// Adds what one item selects. An item that names one interface must find it usable.
Status add_item(const Item& item, int family, std::span<const NetworkInterface> interfaces,
                TcpDiscovery& discovery) {
  bool matched = false;
  for (const NetworkInterface& one : interfaces) {
    if (!item.matches(one)) continue;
    matched = true;
    const auto address = item.address ? own_address(one, *item.address) : best_address(one, family);
    if (!one.up || !address) {
      if (!item.exact) continue;
      return error(
          Code::kInvalidArgument, "interface {}: {}; there are: {}", item.text,
          !one.up ? "it is down" : fmt::format("it has no such{} address", family_text(family)),
          describe(interfaces));
    }
    const std::string name =
        item.address ? fmt::format("{}@{}", one.name, address->address.ip_text()) : one.name;
    if (!is_taken(discovery, name)) discovery.rails.push_back(make_rail(one, *address, name));
  }
  if (matched) return Status::ok();
  if (item.exact) {
    return error(Code::kInvalidArgument, "there is no interface {}; there are: {}", item.name,
                 describe(interfaces));
  }
  discovery.warnings.push_back(
      fmt::format("no interface begins with '{}'; there are: {}", item.name, describe(interfaces)));
  return Status::ok();
}

void add_usable(const NetworkInterface& interface, int family, TcpDiscovery& discovery) {
  const auto address = best_address(interface, family);
  if (interface.up && address) {
    discovery.rails.push_back(make_rail(interface, *address, interface.name));
  }
}

void add_defaults(int family, std::span<const NetworkInterface> interfaces,
                  TcpDiscovery& discovery) {
  const auto is_virtual = [](const NetworkInterface& one) {
    return one.loopback || one.name.starts_with("docker") || one.name.starts_with("virbr");
  };
  for (const NetworkInterface& one : interfaces) {
    if (!is_virtual(one)) add_usable(one, family, discovery);
  }
  // A link-local address alone says that nobody has configured the port.
  const auto unconfigured = [](const TcpRailConfig& one) { return one.address.is_link_local(); };
  if (!std::ranges::all_of(discovery.rails, unconfigured)) {
    std::erase_if(discovery.rails, unconfigured);
  }
  if (!discovery.rails.empty()) return;
  for (const NetworkInterface& one : interfaces) {
    if (one.loopback) add_usable(one, family, discovery);
  }
}

// `exclude`: all interfaces but those that match, loopback only when nothing else is left.
void add_all_but(const Filter& filter, int family, std::span<const NetworkInterface> interfaces,
                 TcpDiscovery& discovery) {
  std::vector<NetworkInterface> kept;
  for (const NetworkInterface& one : interfaces) {
    const auto matches = [&](const Item& item) { return item.matches(one); };
    if (std::ranges::none_of(filter.items, matches)) kept.push_back(one);
  }
  add_defaults(family, kept, discovery);
}

void warn_of_shared_subnets(TcpDiscovery& discovery) {
  for (size_t i = 0; i < discovery.rails.size(); ++i) {
    for (size_t j = i + 1; j < discovery.rails.size(); ++j) {
      const TcpRailConfig& one = discovery.rails[i];
      const TcpRailConfig& other = discovery.rails[j];
      if (one.interface_name == other.interface_name) continue;
      if (!one.address.same_subnet(other.address, std::min(one.prefix_bits, other.prefix_bits))) {
        continue;
      }
      discovery.warnings.push_back(fmt::format(
          "rails {} and {} are in one subnet ({} and {}): sockets are bound to their devices; "
          "where "
          "both NICs are on one network, set net.ipv4.conf.all.arp_ignore=1 and arp_announce=2",
          one.info.name, other.info.name, one.info.address, other.info.address));
    }
  }
}

}  // namespace

Result<TcpDiscovery> select_rails(const TcpDiscoveryOptions& options,
                                  std::span<const NetworkInterface> interfaces) {
  if (options.family != 0 && options.family != AF_INET && options.family != AF_INET6) {
    return error(Code::kInvalidArgument, "address family {} is neither AF_INET nor AF_INET6",
                 options.family);
  }
  TcpDiscovery discovery;
  if (options.interface_spec.empty()) {
    add_defaults(options.family, interfaces, discovery);
  } else {
    RAILCCL_ASSIGN(const Filter filter, parse_filter(options.interface_spec));
    if (filter.exclude) {
      add_all_but(filter, options.family, interfaces, discovery);
    } else {
      for (const Item& item : filter.items) {
        RAILCCL_TRY(add_item(item, options.family, interfaces, discovery));
      }
    }
  }
  if (discovery.rails.empty()) {
    return error(Code::kInvalidArgument,
                 "no interface that is up has an{} address and fits '{}'; there are: {}",
                 family_text(options.family), options.interface_spec, describe(interfaces));
  }
  warn_of_shared_subnets(discovery);
  return discovery;
}

}  // namespace railccl::tcp
