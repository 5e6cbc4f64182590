// The beginning that all address blobs of endpoints share: magic and version. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>
#include <vector>

#include "src/base/status.h"

namespace railccl {

// The peer's blob, if it is one of this transport ("TCP", for messages) and version. A new Blob
// holds the magic and version of this side; what else is in it is the caller's to check.
template <typename Blob>
Result<Blob> read_address_blob(const std::vector<std::byte>& bytes, std::string_view transport) {
  const Blob mine;
  Blob blob;
  if (bytes.size() != sizeof blob) {
    return error(Code::kInvalidArgument, "the peer's address has {} bytes, a {} rail's has {}",
                 bytes.size(), transport, sizeof blob);
  }
  std::memcpy(&blob, bytes.data(), sizeof blob);
  if (blob.magic != mine.magic) {
    return error(Code::kInvalidArgument, "the peer's address is not a {} rail's", transport);
  }
  if (blob.version != mine.version) {
    return error(Code::kMismatch,
                 "the peer's {} rail speaks version {}, this one {}; use the same RailCCL on all "
                 "ranks",
                 transport, blob.version, mine.version);
  }
  return blob;
}

}  // namespace railccl
