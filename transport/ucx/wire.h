// What UCX rails say to each other, byte for byte: little-endian, fixed layouts. The endpoint's
// address goes over the authenticated bootstrap; everything else is the header of an active
// message, and the bytes of a put are its payload. Every header begins with the number that the
// receiver's address names, which a stranger cannot know; what begins otherwise is dropped.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "transport/rail.h"

namespace railccl::ucx {

static_assert(std::endian::native == std::endian::little,
              "the wire format is written for little-endian hosts");

constexpr uint32_t kAddressMagic = 0x58435552;  // "RUCX"
constexpr uint16_t kWireVersion = 1;
constexpr size_t kMaxWorkerAddressBytes = 232;

struct AddressBlob {
  uint32_t magic = kAddressMagic;
  uint16_t version = kWireVersion;
  uint8_t ucx_major = 0;
  uint8_t ucx_minor = 0;
  uint64_t session = 0;  // random: what messages to this endpoint begin with
  uint32_t worker_address_bytes = 0;
  uint32_t reserved = 0;
  std::array<std::byte, kMaxWorkerAddressBytes> worker_address{};
};
static_assert(sizeof(AddressBlob) == 256 && offsetof(AddressBlob, session) == 8 &&
              offsetof(AddressBlob, worker_address) == 24);
static_assert(sizeof(AddressBlob) <= kMaxAddressBytes);

// The active message's number.
enum class MessageKind : unsigned { kHello = 1, kPut, kAck, kFarewell };

struct Hello {
  uint64_t session = 0;
  uint64_t sender_session = 0;
};
static_assert(sizeof(Hello) == 16);

constexpr uint32_t kNotifyFlag = 1;

struct PutHeader {
  uint64_t session = 0;
  uint32_t sequence = 0;  // the sender's slot: comes back in an Ack
  uint32_t flags = 0;     // kNotifyFlag; all other bits are zero
  uint64_t bytes = 0;
  uint64_t key = 0;
  uint64_t offset = 0;
  Notification notification{};
};
static_assert(sizeof(PutHeader) == 72 && offsetof(PutHeader, bytes) == 16 &&
              offsetof(PutHeader, notification) == 40);

// Puts that are in their place. Only the first `count` sequences are sent.
struct Ack {
  uint64_t session = 0;
  uint32_t count = 0;
  uint32_t reserved = 0;
  std::array<uint32_t, 60> sequences{};
};
static_assert(sizeof(Ack) == 256 && offsetof(Ack, sequences) == 16);

struct Farewell {
  uint64_t session = 0;
  uint32_t text_bytes = 0;
  uint32_t reserved = 0;
  std::array<char, 144> text{};
};
static_assert(sizeof(Farewell) == 160 && offsetof(Farewell, text) == 16);

}  // namespace railccl::ucx
