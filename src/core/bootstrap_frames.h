// What a rank and a root say to each other after the handshake. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/status.h"
#include "src/core/net_address.h"

namespace railccl::boot {

enum class RootFrame : uint16_t {
  kJoin = 1,    // rank to root
  kParent = 2,  // root to rank: the address of its parent in the tree
  kFailed = 3,  // both ways: the meeting has failed
  kMet = 4,     // rank to root: this rank has everything
};

struct JoinRecord {
  uint32_t roots = 1;
  uint32_t root = 0;      // which of them this one is, by the rank's list of ids
  SocketAddress address;  // where the rank listens
  uint32_t pid = 0;
  std::string host;
};
std::vector<std::byte> pack(const JoinRecord& record);
Result<JoinRecord> unpack_join(std::span<const std::byte> payload);

std::vector<std::byte> pack_parent(const SocketAddress& address);
Result<SocketAddress> unpack_parent(std::span<const std::byte> payload);

std::vector<std::byte> pack_failed(const Status& status);
// The failure that was sent, or that what was sent is malformed.
Status unpack_failed(std::span<const std::byte> payload);

}  // namespace railccl::boot
