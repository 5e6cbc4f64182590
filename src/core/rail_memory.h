// Host memory registered on this process's rails: for the length of an operation, or longer when
// the caller registered it (ncclCommRegister) or it is library memory. Threading: the driver lock.
#pragma once

#include <cstddef>
#include <map>
#include <memory>

#include "src/base/status.h"
#include "src/core/rail_host.h"
#include "transport/link.h"

namespace railccl {

class RailMemory {
 public:
  explicit RailMemory(RailHost& host) : host_(host) {}
  // The registration that covers the range, or a new one that lives as long as somebody holds it.
  // The error names each rail that refused.
  Result<std::shared_ptr<const RegisteredBuffer>> acquire(const std::byte* address, size_t bytes);
  // Keeps a registration of the range until release(); ranges may be registered several times.
  Status keep(const std::byte* address, size_t bytes);
  void release(const std::byte* address);
  void clear() { kept_.clear(); }

 private:
  RailHost& host_;
  std::multimap<const std::byte*, std::shared_ptr<const RegisteredBuffer>> kept_;  // by address
};

}  // namespace railccl
