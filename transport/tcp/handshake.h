// How the two ends of a socket prove to each other that they know both endpoints' secrets, before
// any other byte is believed. Pure apart from random numbers; any thread.
//
//   dialer                                   acceptor
//     Hello{lane, ids, nonce_d}      ->
//                                    <-      Challenge{nonce_a, mac("acceptor", all above)}
//     Proof{mac("dialer", all above)} ->
//
// mac: BLAKE2b keyed with BLAKE2b of both secrets (libsodium crypto_generichash). The Hello names
// the acceptor's random 64-bit endpoint id, so a stranger is told nothing at all.
#pragma once

#include <array>
#include <cstdint>

#include "transport/tcp/wire.h"

namespace railccl::tcp {

constexpr size_t kNonceBytes = 32;
constexpr size_t kMacBytes = 32;
using Nonce = std::array<uint8_t, kNonceBytes>;
using Mac = std::array<uint8_t, kMacBytes>;
using Secret = std::array<uint8_t, kSecretBytes>;
using SessionKey = std::array<uint8_t, 32>;

constexpr uint32_t kHelloMagic = 0x4f4c4852;  // "RHLO"

struct Hello {
  uint32_t magic = kHelloMagic;
  uint16_t version = kWireVersion;
  uint8_t lane = 0;
  uint8_t reserved = 0;
  uint64_t acceptor_id = 0;
  uint64_t dialer_id = 0;
  Nonce nonce{};
};
static_assert(sizeof(Hello) == 56 && offsetof(Hello, acceptor_id) == 8 &&
              offsetof(Hello, nonce) == 24);

struct Challenge {
  Nonce nonce{};
  Mac mac{};
};
static_assert(sizeof(Challenge) == 64);

struct Proof {
  Mac mac{};
};
static_assert(sizeof(Proof) == 32);

// What one end of a connection is and knows.
struct Identity {
  uint64_t endpoint_id = 0;
  Secret secret{};
};

uint64_t random_id();  // never 0
Secret random_secret();
Nonce random_nonce();

// The same on both sides, whichever is called first.
SessionKey session_key(const Identity& one, const Identity& other);

Mac acceptor_mac(const SessionKey& key, const Hello& hello, const Nonce& acceptor_nonce);
Mac dialer_mac(const SessionKey& key, const Hello& hello, const Nonce& acceptor_nonce);
// In constant time.
bool equal(const Mac& one, const Mac& other);

// Of the Hello's own fields only: magic, version, lane, reserved.
bool well_formed(const Hello& hello);

}  // namespace railccl::tcp
