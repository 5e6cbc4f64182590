// The memory that peers may put into over one rail, by key. Keys are random, so that they cannot be
// guessed, and every access is checked against the registration. Owned and used by the rail's
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "transport/rail.h"

namespace railccl::tcp {

class MemoryTable {
 public:
  // Host memory only. `on_gone(key)` is called when the registration is destroyed, before its
  // destructor returns.
  Result<std::unique_ptr<Registration>> add(const MemoryRegion& region);
  void set_on_gone(std::function<void(uint64_t key)> on_gone) { on_gone_ = std::move(on_gone); }

  // Where bytes [offset, offset + bytes) of the registration are; an error when that is not wholly
  // inside, or when there is no such key.
  Result<std::byte*> locate(uint64_t key, uint64_t offset, uint64_t bytes) const;
  // Whether this object is a registration of this table.
  bool owns(const Registration* registration) const;

 private:
  class Entry;
  void remove(uint64_t key);

  std::unordered_map<uint64_t, const Registration*> by_key_;
  std::function<void(uint64_t key)> on_gone_;
};

}  // namespace railccl::tcp
