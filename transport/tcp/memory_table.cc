#include "transport/tcp/memory_table.h"

#include <limits>

#include "transport/tcp/handshake.h"

namespace railccl::tcp {

class MemoryTable::Entry final : public Registration {
 public:
  Entry(const MemoryRegion& region, uint64_t key, MemoryTable& table)
      : Registration(region, key), table_(table) {}
  ~Entry() override { table_.remove(key()); }

 private:
  MemoryTable& table_;
};

Result<std::unique_ptr<Registration>> MemoryTable::add(const MemoryRegion& region) {
  if (region.kind != MemoryKind::kHost) {
    return error(Code::kInvalidUsage,
                 "a TCP rail registers host memory only; stage device memory through host memory");
  }
  if (region.address == nullptr || region.bytes == 0) {
    return error(Code::kInvalidArgument, "cannot register {} bytes at {}", region.bytes,
                 fmt::ptr(region.address));
  }
  if (region.bytes >
      std::numeric_limits<uintptr_t>::max() - reinterpret_cast<uintptr_t>(region.address)) {
    return error(Code::kInvalidArgument, "cannot register {} bytes at {}: beyond the address space",
                 region.bytes, fmt::ptr(region.address));
  }
  uint64_t key = random_id();
  while (by_key_.contains(key)) key = random_id();
  auto entry = std::make_unique<Entry>(region, key, *this);
  by_key_.emplace(key, entry.get());
  return entry;
}

Result<std::byte*> MemoryTable::locate(uint64_t key, uint64_t offset, uint64_t bytes) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    return error(Code::kRailFailed, "a put of {} bytes used a key that is not registered", bytes);
  }
  const MemoryRegion& region = found->second->region();
  if (offset > region.bytes || bytes > region.bytes - offset) {
    return error(Code::kRailFailed,
                 "a put of {} bytes at offset {} is outside its registration of {} bytes", bytes,
                 offset, region.bytes);
  }
  return region.address + offset;
}

bool MemoryTable::owns(const Registration* registration) const {
  const auto found = by_key_.find(registration->key());
  return found != by_key_.end() && found->second == registration;
}

void MemoryTable::remove(uint64_t key) {
  by_key_.erase(key);
  if (on_gone_) on_gone_(key);
}

}  // namespace railccl::tcp
