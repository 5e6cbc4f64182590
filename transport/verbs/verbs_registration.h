// Memory registered on a verbs rail, and its key: the NIC's key and the address of the first byte,
// which is its place in its page.
//
//   key:  1 | host memory 1 | first address 30 | rkey 32
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "transport/rail.h"
#include "transport/verbs/verbs_device.h"

namespace railccl::verbs {

struct RemoteKey {
  uint32_t rkey = 0;
  uint64_t first_address = 0;
  bool host = false;  // its owner can write there itself
};

constexpr uint64_t encode(const RemoteKey& key) {
  return uint64_t{1} << 63 | uint64_t{key.host ? 1U : 0U} << 62 | key.first_address << 32 |
         key.rkey;
}
constexpr RemoteKey decode_remote_key(uint64_t key) {
  return {.rkey = static_cast<uint32_t>(key),
          .first_address = key >> 32 & 0x3fffffff,
          .host = (key >> 62 & 1) != 0};
}

// What a rail has registered, by key: where the bytes of a peer's put are. The rail's thread.
using RegisteredRegions = std::unordered_map<uint64_t, MemoryRegion>;

class VerbsRegistration final : public Registration {
 public:
  // `registered` is the rail's, which outlives its registrations.
  VerbsRegistration(const MemoryRegion& region, MemoryHandle memory, RegisteredRegions& registered)
      : Registration(region, encode(RemoteKey{.rkey = memory->rkey,
                                              .first_address = verbs::first_address(region),
                                              .host = region.kind == MemoryKind::kHost})),
        memory_(std::move(memory)),
        registered_(registered) {
    registered_.emplace(key(), region);
  }
  ~VerbsRegistration() override { registered_.erase(key()); }
  uint32_t local_key() const { return memory_->lkey; }

 private:
  MemoryHandle memory_;
  RegisteredRegions& registered_;
};

}  // namespace railccl::verbs
