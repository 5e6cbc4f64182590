// CRC32C (Castagnoli), the checksum of iSCSI and RDMA: finds every error of up to three bits and
// every burst of 32 in a chunk. By ISA-L, with what the processor has. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace railccl {

uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace railccl
