// Host memory registered on this process's rails. Who holds what acquire() gives keeps it
// registered; beyond that stay registered
//  - what the caller registered (ncclCommRegister), until he takes it back;
//  - library memory (ncclMemAlloc), by allocation: its names are never used twice, so that one that
//    was freed, and another that came to lie at the same address, is recognised.
// Other memory is registered for each operation anew. Its owner may unmap it, move it or give its
// pages back, and map something else there, and nothing but a hook in the program's own calls would
// tell; a NIC would go on with the old pages (docs/rdma.md).
//
// Threading: the driver lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "src/base/status.h"
#include "src/core/rail_host.h"
#include "transport/link.h"

namespace railccl {

class RailMemory {
 public:
  using Registered = std::shared_ptr<const RegisteredBuffer>;

  explicit RailMemory(RailHost& host) : host_(host) {}
  // A registration that covers the range. Rails that refuse it are warned of, and not used for it;
  // an error, which names each rail and its reason, if all do.
  Result<Registered> acquire(const std::byte* address, size_t bytes);
  // Keeps a registration of the range until release(); ranges may be registered several times.
  Status keep(const std::byte* address, size_t bytes);
  void release(const std::byte* address);
  void clear();

 private:
  struct Allocation {
    uint64_t segment = 0;
    Registered buffer;
  };
  static constexpr size_t kMostAllocations = 64;

  Result<Registered> acquire_allocation(std::byte* begin, size_t bytes, uint64_t segment);
  // Allocations that were freed.
  void forget_freed();
  Result<Registered> register_on_rails(const std::byte* address, size_t bytes);

  RailHost& host_;
  std::multimap<const std::byte*, Registered> kept_;  // by address
  std::vector<Allocation> allocations_;               // used last: at the end
};

}  // namespace railccl
