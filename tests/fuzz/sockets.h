// A connected pair of sockets, for parsers that read from one. One thread.
#pragma once

#include "src/base/unique_fd.h"
#include "tests/fuzz/target.h"

namespace railccl::fuzz {

struct SocketPair {
  UniqueFd here;
  UniqueFd there;
};
// What was written is all that ever comes: the far end is closed for writing.
SocketPair sockets_with(Bytes input);

}  // namespace railccl::fuzz
