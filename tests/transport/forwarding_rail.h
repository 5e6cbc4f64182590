// A rail that does what another one does: a base for those that differ in one thing.
#pragma once

#include <memory>
#include <utility>

#include "transport/rail.h"

namespace railccl::testing_support {

class ForwardingRail : public Rail {
 public:
  explicit ForwardingRail(std::unique_ptr<Rail> inner) : inner_(std::move(inner)) {}
  const RailInfo& info() const override { return inner_->info(); }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) override {
    return inner_->register_memory(region);
  }
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t tag) override {
    return inner_->open_endpoint(tag);
  }
  bool progress(TimeNs now, EventSink& sink) override { return inner_->progress(now, sink); }
  void prepare_sleep() override { inner_->prepare_sleep(); }
  int wake_fd() const override { return inner_->wake_fd(); }

 private:
  std::unique_ptr<Rail> inner_;
};

}  // namespace railccl::testing_support
