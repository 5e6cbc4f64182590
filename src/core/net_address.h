// Socket addresses of the bootstrap as values: parse, print, resolve, pack for the wire, open
// sockets on them. Any thread. resolve() may wait for the system's resolver.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/status.h"
#include "src/base/unique_fd.h"
#include "transport/byte_io.h"

namespace railccl::boot {

class SocketAddress {
 public:
  SocketAddress() = default;  // family AF_UNSPEC
  SocketAddress(const sockaddr* address, socklen_t bytes);
  // All local addresses of a family.
  static SocketAddress any(int family);
  static Result<SocketAddress> unpack(wire::ByteReader& reader);

  void pack(wire::ByteWriter& writer) const;
  int family() const { return storage_.ss_family; }
  uint16_t port() const;
  SocketAddress with_port(uint16_t port) const;
  bool same_host(const SocketAddress& other) const;
  bool is_loopback() const;
  bool is_link_local() const;
  std::string host() const;  // "10.0.0.1", "fe80::1%eth0"
  std::string text() const;  // "10.0.0.1:4000", "[::1]:4000"
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t bytes() const;

 private:
  sockaddr_storage storage_{};
};

struct HostPort {
  std::string host;
  uint16_t port = 0;
};
// "host:port", "10.0.0.1:4000", "[::1]:4000".
Result<HostPort> parse_host_port(std::string_view text);

// Every address of a name in the resolver's order; `family` 0: any. A number is of its own family,
// whatever is asked for.
Result<std::vector<SocketAddress>> resolve(const HostPort& target, int family);

// Non-blocking and close-on-exec, or why there is none.
struct Socket {
  UniqueFd fd;
  int problem = 0;  // errno
};
// A port of 0 gets a free one. All addresses of IPv6 take IPv4 too, where the system can.
Socket open_listener(const SocketAddress& address);
// Under way: ask connect_result() when the descriptor is writable.
Socket begin_connect(const SocketAddress& address);
// 0: connected; EINPROGRESS: not yet; else what became of it. A socket that got connected to itself
// (its own port was chosen while nobody listened there) counts as refused.
int connect_result(int fd);

SocketAddress local_address(int fd);
SocketAddress remote_address(int fd);

}  // namespace railccl::boot
