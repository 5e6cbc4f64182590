#include "src/core/device_domain.h"

namespace railccl {

Result<std::unique_ptr<DeviceDomain>> DeviceDomain::create(std::shared_ptr<Device> device,
                                                           uint64_t bytes) {
  RAILCCL_ASSIGN(const SharedDeviceMemory own, device->allocate_shared(bytes));
  return std::unique_ptr<DeviceDomain>(new DeviceDomain(std::move(device), own));
}

DeviceDomain::~DeviceDomain() {
  for (size_t i = 0; i < opened_.size(); ++i) device_->let_go(pieces_[i], opened_[i]);
  device_->free_shared(own_);
}

Status DeviceDomain::open(const std::vector<SharedDeviceMemory>& pieces, size_t index) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i == index) {
      opened_.push_back(own_.address);
    } else {
      RAILCCL_ASSIGN(std::byte* const opened, device_->reach(pieces[i]));
      opened_.push_back(opened);
    }
    pieces_.push_back(pieces[i]);
  }
  return Status::ok();
}

}  // namespace railccl
