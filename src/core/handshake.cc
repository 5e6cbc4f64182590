#include "src/core/handshake.h"

#include <sodium.h>

#include <cstring>

namespace railccl::boot {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

template <typename T>
std::optional<T> take(FrameStream& stream) {
  const std::byte* bytes = stream.take_raw(sizeof(T));
  if (bytes == nullptr) return std::nullopt;
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

void add(crypto_generichash_state& state, std::span<const std::byte> bytes) {
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(bytes.data()),
                            bytes.size());
}

// `side` has a fixed length, so that no two inputs run into each other.
Mac make_mac(const Key& key, const char (&side)[10], const Hello& hello, const Challenge& challenge,
             uint32_t verdict) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), key.size(), sizeof(Mac));
  add(state, std::as_bytes(std::span(side)));
  add(state, bytes_of(hello));
  add(state, bytes_of(challenge));
  add(state, bytes_of(verdict));
  Mac mac;
  crypto_generichash_final(&state, mac.data(), mac.size());
  return mac;
}

Mac connector_mac(const Key& key, const Hello& hello, const Challenge& challenge) {
  return make_mac(key, "connector", hello, challenge, 0);
}
Mac acceptor_mac(const Key& key, const Hello& hello, const Challenge& challenge, Verdict verdict) {
  return make_mac(key, "acceptor ", hello, challenge, static_cast<uint32_t>(verdict));
}

bool equal(const Mac& one, const Mac& other) {
  return sodium_memcmp(one.data(), other.data(), one.size()) == 0;
}

// Once per process; any thread.
void start_sodium() {
  static const int started = sodium_init();
  (void)started;  // fails only where the system has no random numbers; then libsodium aborts by
                  // itself
}

Error other_version(uint16_t version) {
  return error(Code::kMismatch,
               "the other side speaks version {} of the bootstrap protocol, this library version "
               "{}: use the same RailCCL everywhere",
               version, kProtocolVersion);
}

}  // namespace

Key derive_key(std::string_view context, std::span<const std::byte> material) {
  start_sodium();
  Key context_key;
  crypto_generichash(context_key.data(), context_key.size(),
                     reinterpret_cast<const unsigned char*>(context.data()), context.size(),
                     nullptr, 0);
  Key key;
  crypto_generichash(key.data(), key.size(),
                     reinterpret_cast<const unsigned char*>(material.data()), material.size(),
                     context_key.data(), context_key.size());
  return key;
}

void fill_random(std::span<std::byte> bytes) {
  start_sodium();
  randombytes_buf(bytes.data(), bytes.size());
}

ConnectorHandshake::ConnectorHandshake(const Key& key, Hello who) : key_(key), hello_(who) {
  fill_random(std::as_writable_bytes(std::span(hello_.nonce)));
}

void ConnectorHandshake::start(FrameStream& stream) { stream.queue_raw(bytes_of(hello_)); }

Result<std::optional<Verdict>> ConnectorHandshake::step(FrameStream& stream) {
  if (!challenge_) {
    const auto challenge = take<Challenge>(stream);
    if (!challenge) return std::nullopt;
    if (challenge->magic != kHandshakeMagic) {
      return error(Code::kPeerFailed, "what answers there is not RailCCL");
    }
    if (challenge->version != kProtocolVersion) return other_version(challenge->version);
    challenge_ = challenge;
    stream.queue_raw(bytes_of(Proof{connector_mac(key_, hello_, *challenge_)}));
  }
  const auto welcome = take<Welcome>(stream);
  if (!welcome) return std::nullopt;
  if (!equal(welcome->mac, acceptor_mac(key_, hello_, *challenge_, welcome->verdict))) {
    return error(Code::kPeerFailed, "what answers there does not know the key of this id");
  }
  return welcome->verdict;
}

Result<bool> AcceptorHandshake::step(FrameStream& stream) {
  if (!hello_) {
    const auto hello = take<Hello>(stream);
    if (!hello) return false;
    if (hello->magic != kHandshakeMagic) {
      return error(Code::kPeerFailed, "it does not speak the bootstrap protocol");
    }
    fill_random(std::as_writable_bytes(std::span(challenge_.nonce)));
    stream.queue_raw(bytes_of(challenge_));
    hello_ = hello;
  }
  if (hello_->version != kProtocolVersion) return other_version(hello_->version);
  const auto proof = take<Proof>(stream);
  if (!proof) return false;
  if (!equal(proof->mac, connector_mac(key_, *hello_, challenge_))) {
    return error(Code::kPeerFailed, "it does not know the key");
  }
  return true;
}

void AcceptorHandshake::welcome(FrameStream& stream, Verdict verdict) const {
  stream.queue_raw(bytes_of(Welcome{verdict, acceptor_mac(key_, *hello_, challenge_, verdict)}));
}

}  // namespace railccl::boot
