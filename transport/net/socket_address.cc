#include "transport/net/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace railccl::net {
namespace {

size_t ip_bytes(int family) { return family == AF_INET ? 4 : 16; }

}  // namespace

SocketAddress make_socket_address(int family, const std::array<uint8_t, 16>& ip, uint16_t port) {
  SocketAddress result;
  result.family_ = family;
  result.ip_ = ip;
  result.port_ = port;
  return result;
}

Result<SocketAddress> SocketAddress::from_sockaddr(const sockaddr* address) {
  SocketAddress result;
  if (address != nullptr && address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    result.family_ = AF_INET;
    std::memcpy(result.ip_.data(), &v4.sin_addr, 4);
    result.port_ = ntohs(v4.sin_port);
    return result;
  }
  if (address != nullptr && address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    result.family_ = AF_INET6;
    std::memcpy(result.ip_.data(), &v6.sin6_addr, 16);
    result.port_ = ntohs(v6.sin6_port);
    result.scope_ = v6.sin6_scope_id;
    return result;
  }
  return error(Code::kInvalidArgument, "not an IPv4 or IPv6 address");
}

Result<SocketAddress> SocketAddress::parse(const std::string& text) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(text.c_str(), nullptr, &hints, &found) != 0) {
    return error(Code::kInvalidArgument, "'{}' is not an IPv4 or IPv6 address", text);
  }
  Result<SocketAddress> result = from_sockaddr(found->ai_addr);
  freeaddrinfo(found);
  return result;
}

bool SocketAddress::is_loopback() const {
  if (family_ == AF_INET) return ip_[0] == 127;
  static constexpr std::array<uint8_t, 16> kLoopback6{0, 0, 0, 0, 0, 0, 0, 0,
                                                      0, 0, 0, 0, 0, 0, 0, 1};
  return family_ == AF_INET6 && ip_ == kLoopback6;
}

bool SocketAddress::is_link_local() const {
  if (family_ == AF_INET) return ip_[0] == 169 && ip_[1] == 254;
  return family_ == AF_INET6 && ip_[0] == 0xfe && (ip_[1] & 0xc0) == 0x80;
}

bool SocketAddress::same_ip(const SocketAddress& other) const {
  return family_ == other.family_ && ip_ == other.ip_;
}

bool SocketAddress::same_subnet(const SocketAddress& other, int prefix_bits) const {
  if (family_ != other.family_ || family_ == AF_UNSPEC) return false;
  const int bits = std::clamp(prefix_bits, 0, static_cast<int>(ip_bytes(family_) * 8));
  const size_t whole = static_cast<size_t>(bits) / 8;
  if (!std::equal(ip_.begin(), ip_.begin() + static_cast<long>(whole), other.ip_.begin())) {
    return false;
  }
  const int rest = bits % 8;
  return rest == 0 || ((ip_[whole] ^ other.ip_[whole]) >> (8 - rest)) == 0;
}

SocketAddress SocketAddress::with_port(uint16_t port) const {
  SocketAddress result = *this;
  result.port_ = port;
  return result;
}

SocketAddress SocketAddress::with_scope(uint32_t interface_index) const {
  SocketAddress result = *this;
  result.scope_ = interface_index;
  return result;
}

socklen_t SocketAddress::to_sockaddr(sockaddr_storage& storage) const {
  storage = {};
  if (family_ == AF_INET) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port_);
    std::memcpy(&v4.sin_addr, ip_.data(), 4);
    std::memcpy(&storage, &v4, sizeof v4);
    return sizeof v4;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port_);
  std::memcpy(&v6.sin6_addr, ip_.data(), 16);
  if (is_link_local()) v6.sin6_scope_id = scope_;
  std::memcpy(&storage, &v6, sizeof v6);
  return sizeof v6;
}

std::string SocketAddress::ip_text() const {
  char text[INET6_ADDRSTRLEN] = "?";
  inet_ntop(family_, ip_.data(), text, sizeof text);
  return text;
}

std::string SocketAddress::to_string() const {
  return family_ == AF_INET6 ? fmt::format("[{}]:{}", ip_text(), port_)
                             : fmt::format("{}:{}", ip_text(), port_);
}

}  // namespace railccl::net
