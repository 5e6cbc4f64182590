// What TCP rails say to each other, byte for byte: little-endian, fixed layouts. Three parts: the
// endpoint's address (over the authenticated bootstrap), the handshake of each socket
// (handshake.h), and frames.
//
// A frame is a header and, for puts, its payload. The first four bytes say which header it is:
//
//   small and bulk socket:  PutHeader payload PutHeader payload ...
//   small socket also:      AckFrame      (cumulative: puts placed or shown since it began)
//                           FarewellFrame (why the connection ends; nothing follows)
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "transport/rail.h"

namespace railccl::tcp {

static_assert(std::endian::native == std::endian::little,
              "the wire format is written for little-endian hosts");

// The two sockets of an endpoint: small puts never wait behind bulk data.
enum class LaneId : uint8_t { kSmall = 0, kBulk = 1 };
constexpr size_t kLanes = 2;
constexpr size_t lane_index(LaneId lane) { return static_cast<size_t>(lane); }

constexpr uint32_t kPutMagic = 0x54555052;       // "RPUT"
constexpr uint32_t kAckMagic = 0x4b434152;       // "RACK"
constexpr uint32_t kFarewellMagic = 0x45594252;  // "RBYE"
constexpr uint32_t kNotifyFlag = 1;

struct PutHeader {
  uint32_t magic = kPutMagic;
  uint32_t flags = 0;  // kNotifyFlag; all other bits are zero
  uint64_t bytes = 0;
  uint64_t key = 0;
  uint64_t offset = 0;
  Notification notification{};
};
static_assert(sizeof(PutHeader) == 64 && offsetof(PutHeader, bytes) == 8 &&
              offsetof(PutHeader, key) == 16 && offsetof(PutHeader, offset) == 24 &&
              offsetof(PutHeader, notification) == 32);

struct AckFrame {
  uint32_t magic = kAckMagic;
  uint32_t held_ns = 0;                   // since the newest small put of `placed` came
  std::array<uint64_t, kLanes> placed{};  // by lane
};
static_assert(sizeof(AckFrame) == 24 && offsetof(AckFrame, placed) == 8);

struct FarewellFrame {
  uint32_t magic = kFarewellMagic;
  uint32_t text_bytes = 0;
  std::array<char, 120> text{};
};
static_assert(sizeof(FarewellFrame) == 128 && offsetof(FarewellFrame, text) == 8);

constexpr TimeNs kMaxHeldNs = 0xffffffff;
constexpr size_t kMaxHeaderBytes = sizeof(FarewellFrame);
constexpr uint64_t kMaxPutBytes = uint64_t{1} << 30;

constexpr uint32_t kAddressMagic = 0x50435452;  // "RTCP"
constexpr uint16_t kWireVersion = 2;
constexpr size_t kSecretBytes = 16;

struct AddressBlob {
  uint32_t magic = kAddressMagic;
  uint16_t version = kWireVersion;
  uint8_t ip_version = 0;  // 4 or 6
  uint8_t reserved = 0;
  std::array<uint8_t, 16> ip{};
  uint16_t port = 0;
  std::array<uint8_t, 6> reserved2{};
  uint64_t endpoint_id = 0;
  std::array<uint8_t, kSecretBytes> secret{};
};
static_assert(sizeof(AddressBlob) == 56 && offsetof(AddressBlob, ip) == 8 &&
              offsetof(AddressBlob, port) == 24 && offsetof(AddressBlob, endpoint_id) == 32 &&
              offsetof(AddressBlob, secret) == 40);
static_assert(sizeof(AddressBlob) <= kMaxAddressBytes);

}  // namespace railccl::tcp
