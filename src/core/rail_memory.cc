#include "src/core/rail_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/log.h"
#include "src/core/local_heap.h"

namespace railccl {
namespace {

bool covers(const RegisteredBuffer& buffer, const std::byte* address, size_t bytes) {
  return buffer.region.address <= address &&
         address + bytes <= buffer.region.address + buffer.region.bytes;
}

}  // namespace

Result<RailMemory::Registered> RailMemory::acquire(const std::byte* address, size_t bytes) {
  for (auto entry = kept_.begin(); entry != kept_.end() && entry->first <= address; ++entry) {
    if (covers(*entry->second, address, bytes)) return entry->second;
  }
  if (const auto allocation = find_allocation(address, bytes)) {
    return acquire_allocation(allocation->begin, allocation->bytes, allocation->segment);
  }
  return register_on_rails(address, bytes);
}

Result<RailMemory::Registered> RailMemory::acquire_allocation(std::byte* begin, size_t bytes,
                                                              uint64_t segment) {
  const auto found = std::ranges::find(allocations_, segment, &Allocation::segment);
  if (found != allocations_.end()) {
    std::rotate(found, found + 1, allocations_.end());
    return allocations_.back().buffer;
  }
  forget_freed();
  RAILCCL_ASSIGN(Registered buffer, register_on_rails(begin, bytes));
  if (allocations_.size() == kMostAllocations) allocations_.erase(allocations_.begin());
  allocations_.push_back({.segment = segment, .buffer = std::move(buffer)});
  return allocations_.back().buffer;
}

void RailMemory::forget_freed() {
  std::erase_if(allocations_, [](const Allocation& one) {
    const MemoryRegion& region = one.buffer->region;
    const auto now = find_allocation(region.address, region.bytes);
    return !now || now->segment != one.segment;
  });
}

Result<RailMemory::Registered> RailMemory::register_on_rails(const std::byte* address,
                                                             size_t bytes) {
  auto buffer = std::make_shared<RegisteredBuffer>();
  // Rails write through registrations of output buffers only; the caller's constness is its promise
  // about the library, not about the memory.
  buffer->region = {
      .kind = MemoryKind::kHost, .address = const_cast<std::byte*>(address), .bytes = bytes};
  std::string refusals;
  bool any = false;
  for (Rail* rail : host_.rails()) {
    auto registration = rail->register_memory(buffer->region);
    if (!registration && !allocations_.empty()) {
      // What is only remembered makes room.
      allocations_.clear();
      registration = rail->register_memory(buffer->region);
    }
    if (!registration) {
      const std::string& name = rail->info().name;
      refusals += fmt::format(" [{}: {}]", name, registration.error().message());
      RAILCCL_WARN_ONCE(Subsys::kNet, "registration on " + name,
                        "buffers that cannot be registered on a rail go over the others: {}",
                        registration.error().message());
      buffer->on_rail.push_back(nullptr);
      continue;
    }
    any = true;
    buffer->on_rail.push_back(std::move(*registration));
  }
  if (!any && !host_.rails().empty()) {
    return error(Code::kSystemError, "no rail could register {} bytes of memory:{}", bytes,
                 refusals);
  }
  return Registered(std::move(buffer));
}

Status RailMemory::keep(const std::byte* address, size_t bytes) {
  RAILCCL_ASSIGN(Registered buffer, acquire(address, bytes));
  kept_.emplace(address, std::move(buffer));
  return Status::ok();
}

void RailMemory::release(const std::byte* address) {
  const auto found = kept_.find(address);
  if (found != kept_.end()) kept_.erase(found);
}

void RailMemory::clear() {
  kept_.clear();
  allocations_.clear();
}

}  // namespace railccl
