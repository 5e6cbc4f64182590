// Memory registered on a UCX rail: known to the device through UCX, and to peers by a random key
// that the target looks up for every put.
#pragma once

#include <utility>

#include "transport/memory_table.h"
#include "transport/ucx/ucx_context.h"

namespace railccl::ucx {

class UcxRegistration final : public MemoryTable::Entry {
 public:
  UcxRegistration(const MemoryRegion& region, MemoryTable& table, MappedMemory memory)
      : MemoryTable::Entry(region, table), memory_(std::move(memory)) {}
  ~UcxRegistration() override { withdraw(); }
  ucp_mem_h handle() const { return memory_.get(); }

 private:
  MappedMemory memory_;
};

}  // namespace railccl::ucx
