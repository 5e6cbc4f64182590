// One device of UCX as a rail: its context, its endpoints, and the descriptor that says when to
// look. The rail's thread.
//
// Endpoints that had something to do lately are hot: every call of progress looks at them. All
// others are armed and looked at when their descriptors say so. A hot one is armed, too, before
// progress says that there is nothing to do, so that the owner can sleep.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "transport/memory_table.h"
#include "transport/net/poller.h"
#include "transport/net/port_monitor.h"
#include "transport/rail.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_endpoint.h"
#include "transport/ucx/ucx_transport.h"

namespace railccl::ucx {

class UcxRail final : public Rail, public EndpointHost {
 public:
  static Result<std::unique_ptr<Rail>> open(const UcxRailConfig& config,
                                            const UcxRailOptions& options, const UcxApi& api);
  ~UcxRail() override = default;

  // Rail:
  const RailInfo& info() const override { return config_.info; }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) override;
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t endpoint_tag) override;
  bool progress(TimeNs now, EventSink& sink) override;
  void prepare_sleep() override {}  // an idle progress arms
  int wake_fd() const override { return poller_.fd(); }

  // EndpointHost:
  const UcxContext& context() const override { return *context_; }
  const MemoryTable& memory() const override { return memory_; }
  net::Poller& poller() override { return poller_; }
  TimeNs now() const override { return now_; }
  bool port_up() const override { return port_up_; }
  void raise(const RailEvent& event) override;
  void want_progress(UcxEndpoint& endpoint) override;
  void want_ticks() override { set_ticking(true); }
  void on_destroyed(UcxEndpoint& endpoint) override;

 private:
  struct Activity {
    bool hot = false;
    bool armed = false;
    uint32_t idle_rounds = 0;
  };

  UcxRail(const UcxRailConfig& config, const UcxRailOptions& options, net::Poller poller);
  bool serve_hot();
  void serve_descriptors();
  bool arm_hot();
  void serve_ticks();
  void set_ticking(bool wanted);
  void on_port_change(const Status& usable);

  UcxRailConfig config_;
  UcxRailOptions options_;
  net::Poller poller_;
  std::unique_ptr<UcxContext> context_;
  MemoryTable memory_;
  std::unique_ptr<net::PortMonitor> monitor_;
  std::unordered_map<UcxEndpoint*, Activity> endpoints_;
  std::vector<UcxEndpoint*> hot_;
  EventSink* sink_ = nullptr;  // during progress
  TimeNs now_ = 0;
  bool port_up_ = true;
  bool raised_ = false;  // an event in this call of progress
  bool wanted_ = false;  // some endpoint asked for progress since it was served
  bool ticking_ = false;
  uint32_t busy_rounds_ = 0;
};

}  // namespace railccl::ucx
