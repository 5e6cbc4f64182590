// How the two ends of a bootstrap connection prove to each other that they know the key, before any
// other byte is believed. Each MAC covers fresh random numbers of both sides and who talks to whom
// for what, so that nothing can be replayed or reflected. Never blocks; one owner.
//
//   connector                                            acceptor
//     Hello{purpose, from, to, ranks, nonce_c}     ->
//                                                  <-    Challenge{nonce_a}
//     Proof{mac("connector", Hello, Challenge)}    ->
//                                                  <-    Welcome{verdict, mac("acceptor", all
//                                                  above)}
//
// mac: BLAKE2b keyed with the key (libsodium crypto_generichash). The acceptor computes and tells
// nothing that depends on the key before the connector has proven itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "src/base/status.h"
#include "src/core/framing.h"

namespace railccl::boot {

using Key = std::array<uint8_t, 32>;
using Nonce = std::array<uint8_t, 32>;
using Mac = std::array<uint8_t, 32>;

constexpr uint32_t kHandshakeMagic = 0x48424352;  // "RCBH"
constexpr uint16_t kProtocolVersion = 2;
constexpr uint32_t kToRoot = 0xffffffff;  // Hello::to of a connection to a root

enum class Purpose : uint16_t {
  kJoin = 1,   // a rank to the root
  kPeer = 2,   // a rank to a rank
  kProbe = 3,  // is a root of this key there?
};

struct Hello {
  uint32_t magic = kHandshakeMagic;
  uint16_t version = kProtocolVersion;
  Purpose purpose = Purpose::kJoin;
  uint32_t from = 0;
  uint32_t to = 0;
  uint32_t ranks = 0;
  uint32_t reserved = 0;
  Nonce nonce{};
};
static_assert(sizeof(Hello) == 56 && offsetof(Hello, nonce) == 24);

struct Challenge {
  uint32_t magic = kHandshakeMagic;
  uint16_t version = kProtocolVersion;
  uint16_t reserved = 0;
  Nonce nonce{};
};
static_assert(sizeof(Challenge) == 40 && offsetof(Challenge, nonce) == 8);

struct Proof {
  Mac mac{};
};
static_assert(sizeof(Proof) == 32);

enum class Verdict : uint32_t {
  kAccepted = 1,
  kYield = 2,       // the acceptor's own connection to the connector is under way, or there is one
  kWrongPlace = 3,  // not the rank, the number of ranks or the purpose that the acceptor serves
};

struct Welcome {
  Verdict verdict = Verdict::kAccepted;
  Mac mac{};
};
static_assert(sizeof(Welcome) == 36);

// The key of what `material` stands for in `context`; what differs in either is unrelated.
Key derive_key(std::string_view context, std::span<const std::byte> material);
void fill_random(std::span<std::byte> bytes);

class ConnectorHandshake {
 public:
  // `who`: purpose, from, to, ranks; the rest is filled in.
  ConnectorHandshake(const Key& key, Hello who);
  void start(FrameStream& stream);
  // After reading: the verdict once the acceptor has proven itself, an error when it is not ours.
  Result<std::optional<Verdict>> step(FrameStream& stream);
  bool proof_sent() const { return challenge_.has_value(); }

 private:
  Key key_;
  Hello hello_;
  std::optional<Challenge> challenge_;
};

class AcceptorHandshake {
 public:
  explicit AcceptorHandshake(const Key& key) : key_(key) {}
  // After reading: true once the connector has proven itself; an error when it is a stranger.
  Result<bool> step(FrameStream& stream);
  const Hello& hello() const { return *hello_; }  // to be believed only after step() gave true
  bool hello_seen() const { return hello_.has_value(); }
  void welcome(FrameStream& stream, Verdict verdict) const;

 private:
  Key key_;
  std::optional<Hello> hello_;
  Challenge challenge_;
};

}  // namespace railccl::boot
