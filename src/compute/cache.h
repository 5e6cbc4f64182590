// How much cache a core can count on. Any thread may ask; the answer is found once per process.
#pragma once

#include <cstdint>

namespace railccl {

// This machine's last-level cache divided by the cores that share it; at least the private cache of
// a core, and 1 MiB where the system does not say. Data larger than this does not stay in the cache
// when every core works: the usual threshold for `streaming`.
uint64_t cache_bytes_per_core();

}  // namespace railccl
