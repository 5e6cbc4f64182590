#include "src/core/net_interface.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace railccl::boot {
namespace {

// "^=eth0,ib" taken apart.
struct Spec {
  bool exclude = false;
  bool exact = false;
  std::vector<std::string> names;

  bool matches(const std::string& name) const {
    const bool listed = std::any_of(names.begin(), names.end(), [&](const std::string& wanted) {
      return exact ? name == wanted : name.starts_with(wanted);
    });
    return listed != exclude;
  }
};

Spec parse_spec(std::string_view text) {
  Spec spec;
  if (text.starts_with('^')) {
    spec.exclude = true;
    text.remove_prefix(1);
  }
  if (text.starts_with('=')) {
    spec.exact = true;
    text.remove_prefix(1);
  }
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    if (comma > 0) spec.names.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return spec;
}

// Lower is better.
int penalty(const Interface& one) {
  int value = one.address.family() == AF_INET6 ? 1 : 0;
  if (one.address.is_link_local()) value += 2;
  if (one.name.starts_with("docker")) value += 4;
  if (one.address.is_loopback()) value += 8;
  return value;
}

std::string list_text(const std::vector<Interface>& all) {
  std::string text;
  for (const Interface& one : all) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", one.name, one.address.host());
  }
  return text.empty() ? "none" : text;
}

}  // namespace

Result<std::vector<Interface>> list_interfaces() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return system_error(errno, "getifaddrs");
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, ::freeifaddrs);
  std::vector<Interface> all;
  for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0) continue;
    const int family = one->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const socklen_t bytes = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    all.push_back({.name = one->ifa_name, .address = SocketAddress(one->ifa_addr, bytes)});
  }
  return all;
}

Result<Interface> choose_interface(std::string_view spec_text, int family,
                                   const std::vector<Interface>& all) {
  const Spec spec = parse_spec(spec_text);
  const Interface* best = nullptr;
  for (const Interface& one : all) {
    if (family != 0 && one.address.family() != family) continue;
    if (!spec_text.empty() && !spec.matches(one.name)) continue;
    if (best == nullptr || penalty(one) < penalty(*best)) best = &one;
  }
  if (best != nullptr) return *best;
  return error(Code::kInvalidUsage,
               "no network interface fits RAILCCL_SOCKET_IFNAME='{}'{}; this machine has: {}. "
               "Correct or unset RAILCCL_SOCKET_IFNAME or RAILCCL_SOCKET_FAMILY",
               spec_text,
               family == 0         ? ""
               : family == AF_INET ? " with an IPv4 address"
                                   : " with an IPv6 address",
               list_text(all));
}

}  // namespace railccl::boot
