#include "src/core/net_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

namespace railccl::boot {
namespace {

constexpr int kListenBacklog = 4096;

const sockaddr_in& v4(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in&>(storage);
}
const sockaddr_in6& v6(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in6&>(storage);
}

void set_no_delay(int fd) {
  const int on = 1;
  // Without it everything still works, only slower.
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

SocketAddress::SocketAddress(const sockaddr* address, socklen_t bytes) {
  std::memcpy(&storage_, address, std::min<size_t>(bytes, sizeof storage_));
}

SocketAddress SocketAddress::any(int family) {
  SocketAddress address;
  address.storage_.ss_family = static_cast<sa_family_t>(family);
  return address;
}

Result<SocketAddress> SocketAddress::unpack(wire::ByteReader& reader) {
  const auto version = reader.read<uint8_t>();
  const auto port = reader.read<uint16_t>();
  const auto scope = reader.read<uint32_t>();
  const std::vector<std::byte> number = reader.read_bytes(16);
  if (!reader.ok() || (version != 4 && version != 6)) {
    return error(Code::kInvalidArgument, "malformed socket address on the wire");
  }
  SocketAddress address = any(version == 4 ? AF_INET : AF_INET6);
  if (version == 4) {
    auto& in = reinterpret_cast<sockaddr_in&>(address.storage_);
    std::memcpy(&in.sin_addr, number.data(), sizeof in.sin_addr);
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(address.storage_);
    std::memcpy(&in.sin6_addr, number.data(), sizeof in.sin6_addr);
    in.sin6_scope_id = scope;
  }
  return address.with_port(port);
}

// 23 bytes: version (4, 6), port, scope, 16 bytes of number.
void SocketAddress::pack(wire::ByteWriter& writer) const {
  std::array<std::byte, 16> number{};
  const bool is_v4 = family() == AF_INET;
  if (is_v4) {
    std::memcpy(number.data(), &v4(storage_).sin_addr, sizeof(in_addr));
  } else {
    std::memcpy(number.data(), &v6(storage_).sin6_addr, sizeof(in6_addr));
  }
  writer.write<uint8_t>(is_v4 ? 4 : 6);
  writer.write<uint16_t>(port());
  writer.write<uint32_t>(is_v4 ? 0 : v6(storage_).sin6_scope_id);
  writer.write_bytes(number);
}

uint16_t SocketAddress::port() const {
  return ntohs(family() == AF_INET6 ? v6(storage_).sin6_port : v4(storage_).sin_port);
}

SocketAddress SocketAddress::with_port(uint16_t port) const {
  SocketAddress result = *this;
  if (family() == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(result.storage_).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(result.storage_).sin_port = htons(port);
  }
  return result;
}

bool SocketAddress::same_host(const SocketAddress& other) const {
  return family() == other.family() && host() == other.host();
}

bool SocketAddress::is_loopback() const {
  if (family() == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&v6(storage_).sin6_addr);
  return (ntohl(v4(storage_).sin_addr.s_addr) >> 24) == 127;
}

bool SocketAddress::is_link_local() const {
  if (family() == AF_INET6) return IN6_IS_ADDR_LINKLOCAL(&v6(storage_).sin6_addr);
  return (ntohl(v4(storage_).sin_addr.s_addr) >> 16) == 0xa9fe;  // 169.254.0.0/16
}

std::string SocketAddress::host() const {
  char number[INET6_ADDRSTRLEN] = "?";
  if (family() == AF_INET) {
    ::inet_ntop(AF_INET, &v4(storage_).sin_addr, number, sizeof number);
    return number;
  }
  if (family() != AF_INET6) return "nowhere";
  ::inet_ntop(AF_INET6, &v6(storage_).sin6_addr, number, sizeof number);
  char name[IF_NAMESIZE] = "";
  const uint32_t scope = v6(storage_).sin6_scope_id;
  if (scope == 0 || ::if_indextoname(scope, name) == nullptr) return number;
  return fmt::format("{}%{}", number, name);
}

std::string SocketAddress::text() const {
  return family() == AF_INET6 ? fmt::format("[{}]:{}", host(), port())
                              : fmt::format("{}:{}", host(), port());
}

socklen_t SocketAddress::bytes() const {
  return family() == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto bad = [&] {
    return error(Code::kInvalidArgument,
                 "'{}' is not an address: use host:port, 10.0.0.1:4000 or [fd00::1]:4000, port 1 "
                 "to 65535",
                 text);
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad();
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return bad();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad();
  }
  uint16_t port = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (problem != std::errc() || end != digits.data() + digits.size() || port == 0) return bad();
  return HostPort{.host = std::string(host), .port = port};
}

Result<std::vector<SocketAddress>> resolve(const HostPort& target, int family) {
  addrinfo hints{};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int problem = ::getaddrinfo(target.host.c_str(), nullptr, &hints, &found);
  if (problem != 0 && family != 0) {
    hints.ai_family = AF_UNSPEC;
    hints.ai_flags = AI_NUMERICHOST;
    if (::getaddrinfo(target.host.c_str(), nullptr, &hints, &found) == 0) problem = 0;
  }
  if (problem != 0) {
    return error(Code::kSystemError, "host name '{}' cannot be resolved: {}", target.host,
                 problem == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(problem));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    addresses.push_back(SocketAddress(one->ai_addr, one->ai_addrlen).with_port(target.port));
  }
  if (addresses.empty()) {
    return error(Code::kSystemError, "host name '{}' has no usable address", target.host);
  }
  return addresses;
}

Socket open_listener(const SocketAddress& address) {
  UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return {.fd = UniqueFd(), .problem = errno};
  const int on = 1;
  const int off = 0;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) {
    (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (::bind(fd.get(), address.get(), address.bytes()) != 0 ||
      ::listen(fd.get(), kListenBacklog) != 0) {
    return {.fd = UniqueFd(), .problem = errno};
  }
  return {.fd = std::move(fd)};
}

Socket begin_connect(const SocketAddress& address) {
  UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return {.fd = UniqueFd(), .problem = errno};
  set_no_delay(fd.get());
  const bool failed = ::connect(fd.get(), address.get(), address.bytes()) != 0;
  const int problem = failed && errno != EINPROGRESS ? errno : 0;
  return {.fd = std::move(fd), .problem = problem};
}

int connect_result(int fd) {
  pollfd ask{.fd = fd, .events = POLLOUT, .revents = 0};
  if (::poll(&ask, 1, 0) == 0) return EINPROGRESS;
  int result = 0;
  socklen_t bytes = sizeof result;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &bytes) != 0) return errno;
  if (result == 0 && local_address(fd).text() == remote_address(fd).text()) return ECONNREFUSED;
  return result;
}

SocketAddress local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) return {};
  return {reinterpret_cast<sockaddr*>(&storage), bytes};
}

SocketAddress remote_address(int fd) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) return {};
  return {reinterpret_cast<sockaddr*>(&storage), bytes};
}

}  // namespace railccl::boot
