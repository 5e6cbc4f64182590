// An IPv4 or IPv6 address with a port, as a value. Any thread.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>

#include "src/base/status.h"

namespace railccl::net {

class SocketAddress {
 public:
  SocketAddress() = default;

  // AF_INET or AF_INET6 only.
  static Result<SocketAddress> from_sockaddr(const sockaddr* address);
  // "10.0.0.1", "fe80::1", "fe80::1%eth0"; port 0.
  static Result<SocketAddress> parse(const std::string& text);

  int family() const { return family_; }
  // 4 or 16 bytes are meaningful, in network order.
  const std::array<uint8_t, 16>& ip() const { return ip_; }
  uint16_t port() const { return port_; }
  bool is_loopback() const;
  bool is_link_local() const;
  bool same_ip(const SocketAddress& other) const;
  // True when the first `prefix_bits` of both are equal.
  bool same_subnet(const SocketAddress& other, int prefix_bits) const;

  SocketAddress with_port(uint16_t port) const;
  // The interface that a link-local IPv6 address belongs to; ignored for all others.
  SocketAddress with_scope(uint32_t interface_index) const;

  socklen_t to_sockaddr(sockaddr_storage& storage) const;
  std::string ip_text() const;    // "10.0.0.1", "::1"
  std::string to_string() const;  // "10.0.0.1:4711", "[::1]:4711"

  friend SocketAddress make_socket_address(int family, const std::array<uint8_t, 16>& ip,
                                           uint16_t port);

 private:
  int family_ = AF_UNSPEC;
  std::array<uint8_t, 16> ip_{};
  uint16_t port_ = 0;
  uint32_t scope_ = 0;
};

SocketAddress make_socket_address(int family, const std::array<uint8_t, 16>& ip, uint16_t port);

}  // namespace railccl::net
