// The system calls on TCP sockets that rails need, as functions with errors as values. Every socket
// made here is non-blocking and close-on-exec. Any thread.
#pragma once

#include <string>

#include "src/base/status.h"
#include "src/base/unique_fd.h"
#include "transport/net/socket_address.h"
#include "transport/tcp/tcp_transport.h"
#include "transport/tcp/wire.h"

namespace railccl::tcp {

// Listens on `address`; port 0: chosen by the kernel. Two listeners may share an address and port
// when one of them is bound to a device: the kernel then gives it what comes in by that device, and
// the other one the rest.
Result<UniqueFd> open_listener(const TcpRailOptions& options, const net::SocketAddress& address,
                               const std::string& device);
// For both of them, when both listen: while the port may be shared further, the kernel hands
// connections to the listener that it finds first instead of the one that fits best.
void stop_sharing_port(int fd);
Result<net::SocketAddress> local_address(int fd);

// Begins to connect from the rail's address to `peer`; the socket is writable when that has ended
// and pending_error says how. `bind_device`: also SO_BINDTODEVICE.
Result<UniqueFd> start_connecting(const TcpRailConfig& config, const TcpRailOptions& options,
                                  const net::SocketAddress& peer, bool bind_device);
Status pending_error(int fd);

// For a socket that has proved itself: no delay, and an end when the peer's host is silent.
void tune_established(int fd, const TcpRailOptions& options);

// Reads exactly `size` bytes into `buffer` over several calls: `done` counts. True: all are there.
Result<bool> read_fully(int fd, void* buffer, size_t size, size_t& done);
// Sends all of it at once (a new socket has room for a few bytes) or fails.
Status send_at_once(int fd, const void* data, size_t size);

// Ends the connection so that nothing more of it is sent, also what the kernel still holds.
void reset_and_close(UniqueFd& fd);

}  // namespace railccl::tcp
