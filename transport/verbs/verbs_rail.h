// One RDMA port as a rail: its device, its endpoints, and the descriptor that says when to look.
// The rail's thread.
//
// Sleeping: wake_fd is an epoll descriptor over the completion channel, the device's events and a
// timer (endpoints with deadlines). The completion queues are asked for an event only before the
// owner sleeps, and are looked at once more after that: an event costs several system calls.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "src/base/unique_fd.h"
#include "transport/rail.h"
#include "transport/verbs/verbs_device.h"
#include "transport/verbs/verbs_endpoint.h"
#include "transport/verbs/verbs_registration.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl::verbs {

class VerbsRail final : public Rail, public EndpointHost {
 public:
  static Result<std::unique_ptr<Rail>> open(const VerbsRailConfig& config,
                                            const VerbsRailOptions& options, const VerbsApi& api);
  ~VerbsRail() override = default;

  // Rail:
  const RailInfo& info() const override { return config_.info; }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) override;
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t endpoint_tag) override;
  bool progress(TimeNs now, EventSink& sink) override;
  bool flush(TimeNs /*now*/, EventSink& /*sink*/) override { return false; }  // put() has sent it
  void prepare_sleep() override { falling_asleep_ = true; }
  int wake_fd() const override { return epoll_.get(); }

  // EndpointHost:
  const VerbsApi& api() const override { return device_->api(); }
  bool port_up() const override { return port_up_; }
  TimeNs now() const override { return now_; }
  Result<Local> local() override;
  void raise(const RailEvent& event) override { sink_->on_event(event); }
  std::byte* find_data(uint64_t key, uint64_t offset, uint64_t bytes) const override;
  void want_ticks() override { set_ticking(true); }
  void on_destroyed(VerbsEndpoint& endpoint) override;

 private:
  VerbsRail(const VerbsRailConfig& config, const VerbsRailOptions& options)
      : config_(config), options_(options) {}
  Status watch(int fd);
  Status check_locking();
  bool poll_completions();
  bool serve_descriptors();
  void take_channel_events(size_t most);
  bool prepare_queues();
  bool take_device_events();
  void on_device_event(const ibv_async_event& event);
  void drop_moved(const char* why);
  void lose_device(const char* why);
  void set_port(bool up, const char* why);
  Status arm();
  void serve_ticks();
  void set_ticking(bool wanted);

  VerbsRailConfig config_;
  VerbsRailOptions options_;
  UniqueFd epoll_;
  UniqueFd timer_;
  std::unique_ptr<VerbsDevice> device_;
  RegisteredRegions registered_;
  std::unordered_map<uint32_t, VerbsEndpoint*> endpoints_;  // by id
  uint32_t next_id_ = 1;
  EventSink* sink_ = nullptr;
  TimeNs now_ = 0;
  bool port_up_ = true;
  Status device_lost_;           // not ok: nothing can be opened any more
  bool armed_ = false;           // all queues were asked to show the next completion
  bool completed_ = false;       // something was polled since then: its event may be there
  bool falling_asleep_ = false;  // after the next call of progress
  TimeNs asleep_at_ = 0;         // when it last was
  bool ticking_ = false;
  TimeNs look_at_ = 0;  // at the descriptors, next
};

}  // namespace railccl::verbs
