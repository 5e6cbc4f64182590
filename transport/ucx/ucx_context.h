// UCX opened for one device: the rail's. Workers and registrations are made of it and must not
// outlive it. Owned by the rail; its thread.
#pragma once

#include <compare>
#include <memory>
#include <string>
#include <utility>

#include "transport/rail.h"
#include "transport/ucx/ucx_resources.h"
#include "transport/ucx/ucx_transport.h"

namespace railccl::ucx {

// Memory that UCX has made known to the device.
class MappedMemory {
 public:
  MappedMemory() = default;
  MappedMemory(const UcxApi& api, ucp_context_h context, ucp_mem_h handle)
      : api_(&api), context_(context), handle_(handle) {}
  MappedMemory(MappedMemory&& other) noexcept
      : api_(other.api_),
        context_(other.context_),
        handle_(std::exchange(other.handle_, nullptr)) {}
  MappedMemory& operator=(MappedMemory&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(context_, other.context_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~MappedMemory() {
    if (handle_ != nullptr) api_->mem_unmap(context_, handle_);
  }
  ucp_mem_h get() const { return handle_; }

 private:
  const UcxApi* api_ = nullptr;
  ucp_context_h context_ = nullptr;
  ucp_mem_h handle_ = nullptr;
};

struct Version {
  uint8_t major = 0;
  uint8_t minor = 0;
  // clang-tidy 14 takes the 0 in it for a null pointer.
  auto operator<=>(const Version&) const = default;  // NOLINT(modernize-use-nullptr)
};

class UcxContext {
 public:
  static Result<std::unique_ptr<UcxContext>> open(const UcxApi& api, const UcxRailConfig& config,
                                                  const UcxRailOptions& options);

  const UcxApi& api() const { return api_; }
  Version version() const { return version_; }
  Result<Worker> create_worker() const;
  Result<MappedMemory> map(const MemoryRegion& region) const;
  // An error with UCX's word for `status`.
  Status failure(ucs_status_t status, std::string_view what) const;

 private:
  explicit UcxContext(const UcxApi& api) : api_(api) {}

  const UcxApi& api_;
  Version version_;
  Context context_;
};

}  // namespace railccl::ucx
