#include "transport/memory_table.h"

#include <sodium.h>

#include <limits>

namespace railccl {

MemoryTable::Entry::Entry(const MemoryRegion& region, MemoryTable& table)
    : Registration(region, table.new_key()), table_(table) {
  table_.by_key_.emplace(key(), this);
}

void MemoryTable::Entry::withdraw() {
  if (table_.by_key_.erase(key()) == 0) return;
  if (table_.on_gone_) table_.on_gone_(key());
}

uint64_t MemoryTable::new_key() const {
  uint64_t key = 0;
  while (key == 0 || by_key_.contains(key)) randombytes_buf(&key, sizeof key);
  return key;
}

Status MemoryTable::check(const MemoryRegion& region, std::string_view transport) {
  if (region.kind != MemoryKind::kHost) {
    return error(Code::kInvalidUsage,
                 "a {} rail registers host memory only; stage device memory through host memory",
                 transport);
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
  return Status::ok();
}

Result<MemoryTable::Place> MemoryTable::locate(uint64_t key, uint64_t offset,
                                               uint64_t bytes) const {
  const Registration* found = find(key);
  if (found == nullptr) {
    return error(Code::kRailFailed, "a put of {} bytes used a key that is not registered", bytes);
  }
  const MemoryRegion& region = found->region();
  if (offset > region.bytes || bytes > region.bytes - offset) {
    return error(Code::kRailFailed,
                 "a put of {} bytes at offset {} is outside its registration of {} bytes", bytes,
                 offset, region.bytes);
  }
  return Place{.address = region.address + offset, .by_view = region.by_view};
}

const Registration* MemoryTable::find(uint64_t key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

bool MemoryTable::owns(const Registration* registration) const {
  return find(registration->key()) == registration;
}

}  // namespace railccl
