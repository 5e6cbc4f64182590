// A rail that does what another one does, and its endpoints likewise: bases for those that differ
// in one thing.
#pragma once

#include <memory>
#include <utility>
#include <vector>

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

class ForwardingEndpoint : public Endpoint {
 public:
  explicit ForwardingEndpoint(std::unique_ptr<Endpoint> inner) : inner_(std::move(inner)) {}
  std::vector<std::byte> address() const override { return inner_->address(); }
  Status connect(const std::vector<std::byte>& peer) override { return inner_->connect(peer); }
  Status put(const Put& put) override { return inner_->put(put); }
  void close() override { inner_->close(); }

 private:
  std::unique_ptr<Endpoint> inner_;
};

// A rail that differs in its endpoints only: Differing(inner endpoint, what they share).
template <typename Differing, typename Shared>
class RailOfEndpoints final : public ForwardingRail {
 public:
  RailOfEndpoints(std::unique_ptr<Rail> inner, Shared& shared)
      : ForwardingRail(std::move(inner)), shared_(shared) {}
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t tag) override {
    RAILCCL_ASSIGN(std::unique_ptr<Endpoint> inner, ForwardingRail::open_endpoint(tag));
    return std::make_unique<Differing>(std::move(inner), shared_);
  }

 private:
  Shared& shared_;
};

}  // namespace railccl::testing_support
