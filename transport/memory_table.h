// The memory that peers may put into over one rail, by key, for transports that check keys and
// bounds themselves. Keys are random, so that they cannot be guessed, and every access is checked
// against the registration. Owned and used by the rail's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <unordered_map>

#include "transport/rail.h"

namespace railccl {

class MemoryTable {
 public:
  // A registration that is in the table for as long as it lives. Transports that keep something
  // with it derive from it.
  class Entry : public Registration {
   public:
    Entry(const MemoryRegion& region, MemoryTable& table);
    ~Entry() override { withdraw(); }

   protected:
    // Peers' puts end here; for those who have something to free after that.
    void withdraw();

   private:
    MemoryTable& table_;
  };

  // Whether the region can be registered: host memory only. `transport` is for the message.
  static Status check(const MemoryRegion& region, std::string_view transport);
  // `on_gone(key)` is called when a registration is destroyed, before its destructor returns.
  void set_on_gone(std::function<void(uint64_t key)> on_gone) { on_gone_ = std::move(on_gone); }

  struct Place {
    std::byte* address = nullptr;
    bool by_view = false;
  };
  // Where bytes [offset, offset + bytes) of the registration are; an error when that is not wholly
  // inside, or when there is no such key.
  Result<Place> locate(uint64_t key, uint64_t offset, uint64_t bytes) const;
  const Registration* find(uint64_t key) const;  // null: none
  // Whether this object is a registration of this table.
  bool owns(const Registration* registration) const;

 private:
  uint64_t new_key() const;

  std::unordered_map<uint64_t, const Registration*> by_key_;
  std::function<void(uint64_t key)> on_gone_;
};

}  // namespace railccl
