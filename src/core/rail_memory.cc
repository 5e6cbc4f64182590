#include "src/core/rail_memory.h"

#include <fmt/format.h>

namespace railccl {

Result<std::shared_ptr<const RegisteredBuffer>> RailMemory::acquire(const std::byte* address,
                                                                    size_t bytes) {
  for (auto entry = kept_.begin(); entry != kept_.end() && entry->first <= address; ++entry) {
    if (address + bytes <= entry->first + entry->second->region.bytes) return entry->second;
  }
  auto buffer = std::make_shared<RegisteredBuffer>();
  // Rails write through registrations of output buffers only; the caller's constness is its promise
  // about the library, not about the memory.
  buffer->region = {
      .kind = MemoryKind::kHost, .address = const_cast<std::byte*>(address), .bytes = bytes};
  std::string refusals;
  bool any = false;
  for (Rail* rail : host_.rails()) {
    auto registration = rail->register_memory(buffer->region);
    if (!registration) {
      refusals += fmt::format(" [{}: {}]", rail->info().name, registration.error().message());
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
  return std::shared_ptr<const RegisteredBuffer>(std::move(buffer));
}

Status RailMemory::keep(const std::byte* address, size_t bytes) {
  RAILCCL_ASSIGN(auto buffer, acquire(address, bytes));
  kept_.emplace(address, std::move(buffer));
  return Status::ok();
}

void RailMemory::release(const std::byte* address) {
  const auto found = kept_.find(address);
  if (found != kept_.end()) kept_.erase(found);
}

}  // namespace railccl
