// The 128 bytes of a unique id as a value. Public wire format, little endian (docs/bootstrap.md):
//
//    0        8     10      11     12    14    16          32                             128
//    +--------+-----+-------+------+-----+-----+-----------+------------------------------+
//    | magic  | ver | ports | kind | port|  0  | key       | host, zero terminated        |
//    +--------+-----+-------+------+-----+-----+-----------+------------------------------+
//
// Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "src/core/bootstrap.h"
#include "src/core/handshake.h"

namespace railccl::boot {

struct UniqueId {
  enum class Kind : uint8_t {
    kCreated = 1,  // random key; the host is the numeric address of the one root
    kDerived = 2,  // key from an address and a secret; the host may be a name
  };
  Kind kind = Kind::kCreated;
  std::array<std::byte, 16> key{};
  uint16_t port = 0;
  uint8_t ports = 1;  // port, port + 1, ...: the root is on one of them
  std::string host;
};

UniqueIdBytes pack(const UniqueId& id);  // host of at most kMaxHostBytes
Result<UniqueId> unpack_unique_id(const UniqueIdBytes& bytes);
constexpr size_t kMaxHostBytes = 95;

// Keys of connections: to the root of one id, and between ranks that share a list of ids.
Key root_key(const UniqueId& id);
Key session_key(std::span<const UniqueId> ids);

// "host:port" or "host:port-last", for messages.
std::string address_text(const UniqueId& id);

}  // namespace railccl::boot
