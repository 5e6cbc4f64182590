#include "perftest/fabric_check/subnet.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace railccl::perftest::fabric {
namespace {

struct Parsed {
  int family = AF_UNSPEC;
  std::array<uint8_t, 16> bytes{};  // 4 of them for IPv4
  bool operator==(const Parsed&) const = default;
};

// An IPv4 address inside of an IPv6 one is an IPv4 address.
Parsed parse(std::string_view text) {
  Parsed parsed;
  const std::string address(text.substr(0, text.find('%')));
  in6_addr six{};
  if (inet_pton(AF_INET, address.c_str(), parsed.bytes.data()) == 1) {
    parsed.family = AF_INET;
  } else if (inet_pton(AF_INET6, address.c_str(), &six) == 1) {
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&six);
    parsed.family = mapped ? AF_INET : AF_INET6;
    std::memcpy(parsed.bytes.data(), six.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
  }
  return parsed;
}

std::string network(Parsed address, int prefix) {
  const size_t size = address.family == AF_INET ? 4 : 16;
  for (size_t i = 0; i < size; ++i) {
    const int bits = std::clamp(prefix - static_cast<int>(i) * 8, 0, 8);
    address.bytes[i] &= static_cast<uint8_t>(0xff00 >> bits);
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(address.family, address.bytes.data(), text.data(), text.size());
  return fmt::format("{}/{}", text.data(), prefix);
}

bool is_link_local(const Parsed& address) {
  return address.family == AF_INET6 && address.bytes[0] == 0xfe &&
         (address.bytes[1] & 0xc0) == 0x80;
}

int prefix_of(const sockaddr* mask) {
  int bits = 0;
  const auto count = [&](const void* bytes, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      bits += std::popcount(static_cast<const uint8_t*>(bytes)[i]);
    }
  };
  if (mask->sa_family == AF_INET) {
    count(&reinterpret_cast<const sockaddr_in*>(mask)->sin_addr, 4);
  } else {
    count(&reinterpret_cast<const sockaddr_in6*>(mask)->sin6_addr, 16);
  }
  return bits;
}

}  // namespace

std::vector<InterfaceAddress> interface_addresses() {
  std::vector<InterfaceAddress> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_netmask == nullptr) continue;
    const int family = each->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const void* address =
        family == AF_INET
            ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(each->ifa_addr)->sin_addr)
            : &reinterpret_cast<sockaddr_in6*>(each->ifa_addr)->sin6_addr;
    std::array<char, INET6_ADDRSTRLEN> text{};
    inet_ntop(family, address, text.data(), text.size());
    addresses.push_back({.address = text.data(), .prefix = prefix_of(each->ifa_netmask)});
  }
  freeifaddrs(list);
  return addresses;
}

std::string subnet_of(std::string_view address, const std::vector<InterfaceAddress>& interfaces) {
  const Parsed parsed = parse(address);
  if (parsed.family == AF_UNSPEC || is_link_local(parsed)) return {};
  for (const InterfaceAddress& own : interfaces) {
    if (parse(own.address) == parsed) return network(parsed, own.prefix);
  }
  return parsed.family == AF_INET6 ? network(parsed, 64) : std::string();
}

}  // namespace railccl::perftest::fabric
