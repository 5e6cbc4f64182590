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
constexpr TimeNs kPutGuess = 5 * kMicrosecond;

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
                   .put_ns = kPutGuess,
                   .numa_node = interface.numa_node,
                   .pci_address = interface.pci_address,
                   .adapter = adapter_of(interface.pci_address),
                   .address = address.address.ip_text(),
                   .memory_kinds = static_cast<uint32_t>(MemoryKind::kHost),
                   .max_put_bytes = kMaxPutBytes,
                   .collects_puts = true},
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

// One choice of rails. A port that somebody names is a rail although it is down, and joins later;
// others have to be up.
class Selection {
 public:
  Selection(const TcpDiscoveryOptions& options, std::span<const NetworkInterface> interfaces)
      : options_(options), interfaces_(interfaces) {}

  // Adds what one item selects. An item that names one interface must find it, with an address.
  Status add_item(const Item& item);
  // `among`: a part of the interfaces.
  void add_defaults(std::span<const NetworkInterface> among);
  // All interfaces but those that match, loopback only when nothing else is left.
  void add_all_but(const Filter& filter);
  // An error when nothing is up.
  Result<TcpDiscovery> finish();

 private:
  bool is_expected(const NetworkInterface& interface) const {
    return std::ranges::find(options_.expected, interface.name) != options_.expected.end();
  }
  void add(const NetworkInterface& interface, const InterfaceAddress& address,
           const std::string& name);
  void add_usable(const NetworkInterface& interface);
  void warn_of_shared_subnets();

  const TcpDiscoveryOptions& options_;
  std::span<const NetworkInterface> interfaces_;
  TcpDiscovery discovery_;
  bool any_up_ = false;
};

void Selection::add(const NetworkInterface& interface, const InterfaceAddress& address,
                    const std::string& name) {
  if (is_taken(discovery_, name)) return;
  discovery_.rails.push_back(make_rail(interface, address, name));
  any_up_ = any_up_ || interface.up;
  if (interface.up) return;
  discovery_.warnings.push_back(fmt::format(
      "interface {} is down; rail {} is used as soon as it is up", interface.name, name));
}

Status Selection::add_item(const Item& item) {
  bool matched = false;
  for (const NetworkInterface& one : interfaces_) {
    if (!item.matches(one)) continue;
    matched = true;
    const auto address =
        item.address ? own_address(one, *item.address) : best_address(one, options_.family);
    if (item.exact && !address) {
      return error(Code::kInvalidArgument, "interface {}: it {}; there are: {}", item.text,
                   one.up ? fmt::format("has no such{} address", family_text(options_.family))
                          : "is down and has no address",
                   describe(interfaces_));
    }
    if (!address || !(one.up || item.exact || is_expected(one))) continue;
    const std::string name =
        item.address ? fmt::format("{}@{}", one.name, address->address.ip_text()) : one.name;
    add(one, *address, name);
  }
  if (matched) return Status::ok();
  if (item.exact) {
    return error(Code::kInvalidArgument, "there is no interface {}; there are: {}", item.name,
                 describe(interfaces_));
  }
  discovery_.warnings.push_back(fmt::format("no interface begins with '{}'; there are: {}",
                                            item.name, describe(interfaces_)));
  return Status::ok();
}

void Selection::add_usable(const NetworkInterface& interface) {
  const auto address = best_address(interface, options_.family);
  if (address && (interface.up || is_expected(interface))) {
    add(interface, *address, interface.name);
  }
}

void Selection::add_defaults(std::span<const NetworkInterface> among) {
  const auto is_virtual = [](const NetworkInterface& one) {
    return one.loopback || one.name.starts_with("docker") || one.name.starts_with("virbr");
  };
  for (const NetworkInterface& one : among) {
    if (!is_virtual(one)) add_usable(one);
  }
  // A link-local address alone says that nobody has configured the port.
  const auto unconfigured = [](const TcpRailConfig& one) { return one.address.is_link_local(); };
  if (!std::ranges::all_of(discovery_.rails, unconfigured)) {
    std::erase_if(discovery_.rails, unconfigured);
  }
  if (!discovery_.rails.empty()) return;
  for (const NetworkInterface& one : among) {
    if (one.loopback) add_usable(one);
  }
}

void Selection::add_all_but(const Filter& filter) {
  std::vector<NetworkInterface> kept;
  for (const NetworkInterface& one : interfaces_) {
    const auto matches = [&](const Item& item) { return item.matches(one); };
    if (std::ranges::none_of(filter.items, matches)) kept.push_back(one);
  }
  add_defaults(kept);
}

void Selection::warn_of_shared_subnets() {
  for (size_t i = 0; i < discovery_.rails.size(); ++i) {
    for (size_t j = i + 1; j < discovery_.rails.size(); ++j) {
      const TcpRailConfig& one = discovery_.rails[i];
      const TcpRailConfig& other = discovery_.rails[j];
      if (one.interface_name == other.interface_name) continue;
      if (!one.address.same_subnet(other.address, std::min(one.prefix_bits, other.prefix_bits))) {
        continue;
      }
      discovery_.warnings.push_back(fmt::format(
          "rails {} and {} are in one subnet ({} and {}): sockets are bound to their devices; "
          "where "
          "both NICs are on one network, set net.ipv4.conf.all.arp_ignore=1 and arp_announce=2",
          one.info.name, other.info.name, one.info.address, other.info.address));
    }
  }
}

Result<TcpDiscovery> Selection::finish() {
  if (!any_up_) {
    return error(Code::kInvalidArgument,
                 "no interface that is up has an{} address and fits '{}'; there are: {}",
                 family_text(options_.family), options_.interface_spec, describe(interfaces_));
  }
  warn_of_shared_subnets();
  return std::move(discovery_);
}

}  // namespace

Result<TcpDiscovery> select_rails(const TcpDiscoveryOptions& options,
                                  std::span<const NetworkInterface> interfaces) {
  if (options.family != 0 && options.family != AF_INET && options.family != AF_INET6) {
    return error(Code::kInvalidArgument, "address family {} is neither AF_INET nor AF_INET6",
                 options.family);
  }
  Selection selection(options, interfaces);
  if (options.interface_spec.empty()) {
    selection.add_defaults(interfaces);
    return selection.finish();
  }
  RAILCCL_ASSIGN(const Filter filter, parse_filter(options.interface_spec));
  if (filter.exclude) {
    selection.add_all_but(filter);
    return selection.finish();
  }
  for (const Item& item : filter.items) RAILCCL_TRY(selection.add_item(item));
  return selection.finish();
}

}  // namespace railccl::tcp
