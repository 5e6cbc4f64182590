#include "transport/tcp/handshake.h"

#include <sodium.h>

#include <cstring>

namespace railccl::tcp {
namespace {

constexpr char kKeyLabel[] = "railccl tcp rail key 1";
constexpr char kAcceptorLabel[] = "railccl tcp acceptor";
constexpr char kDialerLabel[] = "railccl tcp dialer";

class Hash {
 public:
  explicit Hash(const SessionKey* key) {
    crypto_generichash_init(&state_, key ? key->data() : nullptr, key ? key->size() : 0, kMacBytes);
  }
  Hash& add(const void* data, size_t bytes) {
    crypto_generichash_update(&state_, static_cast<const unsigned char*>(data), bytes);
    return *this;
  }
  std::array<uint8_t, 32> finish() {
    std::array<uint8_t, 32> result{};
    crypto_generichash_final(&state_, result.data(), result.size());
    return result;
  }

 private:
  crypto_generichash_state state_;
};

}  // namespace

uint64_t random_id() {
  uint64_t id = 0;
  while (id == 0) randombytes_buf(&id, sizeof id);
  return id;
}

Secret random_secret() {
  Secret secret{};
  randombytes_buf(secret.data(), secret.size());
  return secret;
}

Nonce random_nonce() {
  Nonce nonce{};
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

SessionKey session_key(const Identity& one, const Identity& other) {
  const bool in_order = one.endpoint_id < other.endpoint_id;
  const Identity& low = in_order ? one : other;
  const Identity& high = in_order ? other : one;
  return Hash(nullptr)
      .add(kKeyLabel, sizeof kKeyLabel)
      .add(&low.endpoint_id, sizeof low.endpoint_id)
      .add(low.secret.data(), low.secret.size())
      .add(&high.endpoint_id, sizeof high.endpoint_id)
      .add(high.secret.data(), high.secret.size())
      .finish();
}

Mac acceptor_mac(const SessionKey& key, const Hello& hello, const Nonce& acceptor_nonce) {
  return Hash(&key)
      .add(kAcceptorLabel, sizeof kAcceptorLabel)
      .add(&hello, sizeof hello)
      .add(acceptor_nonce.data(), acceptor_nonce.size())
      .finish();
}

Mac dialer_mac(const SessionKey& key, const Hello& hello, const Nonce& acceptor_nonce) {
  return Hash(&key)
      .add(kDialerLabel, sizeof kDialerLabel)
      .add(&hello, sizeof hello)
      .add(acceptor_nonce.data(), acceptor_nonce.size())
      .finish();
}

bool equal(const Mac& one, const Mac& other) {
  return sodium_memcmp(one.data(), other.data(), one.size()) == 0;
}

bool well_formed(const Hello& hello) {
  return hello.magic == kHelloMagic && hello.version == kWireVersion && hello.lane < kLanes &&
         hello.reserved == 0 && hello.acceptor_id != 0 && hello.dialer_id != 0;
}

}  // namespace railccl::tcp
