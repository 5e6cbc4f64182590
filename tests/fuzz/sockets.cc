#include "tests/fuzz/sockets.h"

#include <sys/socket.h>

namespace railccl::fuzz {

SocketPair sockets_with(Bytes input) {
  int ends[2] = {-1, -1};
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0,
          "no pair of sockets");
  SocketPair pair{.here = UniqueFd(ends[0]), .there = UniqueFd(ends[1])};
  // What the socket does not take is cut off.
  if (!input.empty()) (void)!send(pair.there.get(), input.data(), input.size(), MSG_NOSIGNAL);
  shutdown(pair.there.get(), SHUT_WR);
  return pair;
}

}  // namespace railccl::fuzz
