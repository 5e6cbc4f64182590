#include "transport/tcp/socket.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace railccl::tcp {
namespace {

constexpr int kListenBacklog = 1024;

template <typename T>
bool set_option(int fd, int level, int option, const T& value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

Result<UniqueFd> open_socket(int family) {
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return system_error(errno, "socket");
  if (family == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  return fd;
}

// Before the connection exists: the window is agreed on at its beginning.
void size_buffers(int fd, const TcpRailOptions& options) {
  if (options.send_buffer_bytes > 0) {
    set_option(fd, SOL_SOCKET, SO_SNDBUF, options.send_buffer_bytes);
  }
  if (options.receive_buffer_bytes > 0) {
    set_option(fd, SOL_SOCKET, SO_RCVBUF, options.receive_buffer_bytes);
  }
}

bool use_congestion_control(int fd, std::string_view name) {
  return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(),
                    static_cast<socklen_t>(name.size())) == 0;
}

// A collective sends in bursts and then waits for the peer. bbr takes the rate of such bursts for
// that of the path and spreads what follows over tens of milliseconds (docs/performance.md).
void leave_bbr(int fd) {
  std::array<char, 16> now{};
  socklen_t size = now.size() - 1;
  if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, now.data(), &size) != 0) return;
  if (!std::string_view(now.data()).starts_with("bbr")) return;
  if (!use_congestion_control(fd, "cubic")) use_congestion_control(fd, "reno");
}

Status choose_congestion_control(int fd, const std::string& name) {
  if (name == "auto") {
    leave_bbr(fd);
  } else if (name != "system" && !use_congestion_control(fd, name)) {
    return error(Code::kInvalidArgument,
                 "RAILCCL_SOCKET_CONGESTION={}: {}; net.ipv4.tcp_allowed_congestion_control lists "
                 "what this process may use",
                 name, std::strerror(errno));
  }
  return Status::ok();
}

bool bind_to_device(int fd, const std::string& name) {
  return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.c_str(),
                    static_cast<socklen_t>(name.size() + 1)) == 0;
}

}  // namespace

Result<UniqueFd> open_listener(const TcpRailOptions& options, const net::SocketAddress& address,
                               const std::string& device) {
  RAILCCL_ASSIGN(UniqueFd fd, open_socket(address.family()));
  size_buffers(fd.get(), options);
  RAILCCL_TRY(choose_congestion_control(fd.get(), options.congestion_control));
  if (!device.empty() && !bind_to_device(fd.get(), device)) {
    return system_error(errno, fmt::format("SO_BINDTODEVICE to {}", device));
  }
  set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  sockaddr_storage storage;
  const socklen_t size = address.to_sockaddr(storage);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0 ||
      listen(fd.get(), kListenBacklog) != 0) {
    return system_error(errno, fmt::format("cannot listen on {}", address.to_string()));
  }
  return fd;
}

void stop_sharing_port(int fd) { set_option(fd, SOL_SOCKET, SO_REUSEPORT, 0); }

Result<net::SocketAddress> local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return system_error(errno, "getsockname");
  }
  return net::SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
}

Result<UniqueFd> start_connecting(const TcpRailConfig& config, const TcpRailOptions& options,
                                  const net::SocketAddress& peer, bool bind_device) {
  RAILCCL_ASSIGN(UniqueFd fd, open_socket(config.address.family()));
  size_buffers(fd.get(), options);
  RAILCCL_TRY(choose_congestion_control(fd.get(), options.congestion_control));
  if (bind_device) bind_to_device(fd.get(), config.interface_name);
  set_option(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  sockaddr_storage storage;
  socklen_t size = config.address.with_port(0).to_sockaddr(storage);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) {
    return system_error(errno, fmt::format("bind to {}", config.address.ip_text()));
  }
  size = peer.with_scope(if_nametoindex(config.interface_name.c_str())).to_sockaddr(storage);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0 && errno != EINPROGRESS) {
    return system_error(errno, "connect");
  }
  return fd;
}

Status pending_error(int fd) {
  int value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size) != 0) value = errno;
  return value == 0 ? Status::ok() : Status(system_error(value, "connect"));
}

void tune_established(int fd, const TcpRailOptions& options) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  const auto silence_ms = static_cast<unsigned>(options.silence_timeout_ns / kMillisecond);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, silence_ms);
}

Result<bool> read_fully(int fd, void* buffer, size_t size, size_t& done) {
  while (done < size) {
    const ssize_t bytes = recv(fd, static_cast<char*>(buffer) + done, size - done, MSG_DONTWAIT);
    if (bytes == 0) return error(Code::kPeerFailed, "the peer closed the connection");
    if (bytes < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
      return system_error(errno, "receive");
    }
    done += static_cast<size_t>(bytes);
  }
  return true;
}

Status send_at_once(int fd, const void* data, size_t size) {
  const ssize_t bytes = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (bytes < 0) return system_error(errno, "send");
  if (static_cast<size_t>(bytes) != size) {
    return error(Code::kSystemError, "send: the socket took {} of {} bytes", bytes, size);
  }
  return Status::ok();
}

void reset_and_close(UniqueFd& fd) {
  if (!fd) return;
  set_option(fd.get(), SOL_SOCKET, SO_LINGER, linger{.l_onoff = 1, .l_linger = 0});
  fd.reset();
}

}  // namespace railccl::tcp
