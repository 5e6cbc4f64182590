// What verbs rails say to each other, byte for byte: little-endian, fixed layouts. The address
// travels over the authenticated bootstrap, messages as RDMA sends on the queue pairs.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "transport/rail.h"
#include "transport/verbs/gid_selection.h"

namespace railccl::verbs {

static_assert(std::endian::native == std::endian::little,
              "the wire format is written for little-endian hosts");

constexpr uint32_t kAddressMagic = 0x42525652;  // "RVRB"
constexpr uint16_t kWireVersion = 2;
constexpr size_t kMaxQueuePairs = 32;

struct AddressBlob {
  uint32_t magic = kAddressMagic;
  uint16_t version = kWireVersion;
  uint8_t ethernet = 0;  // 1: RoCE
  uint8_t mtu = 0;       // ibv_mtu
  GidBytes gid{};
  uint16_t lid = 0;
  uint8_t queue_pairs = 0;
  uint8_t reserved = 0;
  uint32_t receive_slots = 0;  // of each queue pair
  uint32_t first_packet = 0;   // packet sequence number of each queue pair
  uint32_t reserved2 = 0;
  uint64_t nonce = 0;  // random; the side with the smaller one begins
  std::array<uint32_t, kMaxQueuePairs> numbers{};
};
static_assert(sizeof(AddressBlob) == 176 && offsetof(AddressBlob, gid) == 8 &&
              offsetof(AddressBlob, receive_slots) == 28 && offsetof(AddressBlob, nonce) == 40 &&
              offsetof(AddressBlob, numbers) == 48);
static_assert(sizeof(AddressBlob) <= kMaxAddressBytes);

enum class MessageKind : uint32_t {
  kHello = 1,     // words: nonces of the sender and of the receiver
  kNotification,  // words: the notification; bytes, key, offset: of its put, whose bytes may follow
  kCredits,       // only returns receive slots, as every message does
  kFarewell,      // the sender closes the endpoint
};

struct Message {
  MessageKind kind = MessageKind::kCredits;
  uint32_t returned =
      0;  // receive slots given back on this queue pair since the start, modulo 2^32
  uint64_t bytes = 0;
  uint64_t key = 0;     // of the registration that they were put into
  uint64_t offset = 0;  // and where
  Notification words{};
};
static_assert(sizeof(Message) == 64 && offsetof(Message, bytes) == 8 &&
              offsetof(Message, key) == 16 && offsetof(Message, offset) == 24 &&
              offsetof(Message, words) == 32);

// Of a put whose bytes travel behind its notification: 1 KiB and what its users write before it.
constexpr size_t kMostCarriedBytes = 1088;

// What a receive slot holds.
struct Incoming {
  Message message;
  std::array<std::byte, kMostCarriedBytes> carried;
};
static_assert(sizeof(Incoming) == sizeof(Message) + kMostCarriedBytes);

}  // namespace railccl::verbs
