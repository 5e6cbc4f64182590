// Memory of the GPUs of a node's ranks that each of them can load and store: one piece per rank,
// through which collectives on memory of GPUs go without leaving them. Made at the start of a
// communicator; of all ranks or of none.
//
// Threading: made and ended by one thread; of() any.
#pragma once

#include <memory>
#include <vector>

#include "src/base/status.h"
#include "src/compute/device.h"

namespace railccl {

class DeviceDomain {
 public:
  // Takes this rank's piece.
  static Result<std::unique_ptr<DeviceDomain>> create(std::shared_ptr<Device> device,
                                                      uint64_t bytes);
  ~DeviceDomain();
  DeviceDomain(const DeviceDomain&) = delete;
  DeviceDomain& operator=(const DeviceDomain&) = delete;

  const SharedDeviceMemory& own() const { return own_; }
  const std::shared_ptr<Device>& device() const { return device_; }
  // Opens those of all ranks of the node, in their order; `index` is this rank's.
  Status open(const std::vector<SharedDeviceMemory>& pieces, size_t index);
  // Of the node's rank `index`, as this one reaches it.
  std::byte* of(int index) const { return opened_[static_cast<size_t>(index)]; }

 private:
  DeviceDomain(std::shared_ptr<Device> device, const SharedDeviceMemory& own)
      : device_(std::move(device)), own_(own) {}

  std::shared_ptr<Device> device_;
  SharedDeviceMemory own_;
  std::vector<SharedDeviceMemory> pieces_;
  std::vector<std::byte*> opened_;
};

}  // namespace railccl
