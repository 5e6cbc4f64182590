// Cross-memory attach: reading and writing the memory of another process of this node, through the
// kernel. Needs the right to ptrace that process. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "src/base/status.h"

namespace railccl {

// Lets the other processes of this user attach to this one where Yama restricts that to ancestors.
// Where it cannot be allowed, the probe of LocalRoster finds out.
void allow_attach();

Status attach_read(uint32_t pid, uint64_t address, std::byte* dst, size_t bytes);
Status attach_write(uint32_t pid, uint64_t address, const std::byte* src, size_t bytes);

}  // namespace railccl
