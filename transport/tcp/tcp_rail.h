// A rail over TCP: one listener, any number of endpoints, one epoll descriptor. The rail's thread.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "transport/net/port_monitor.h"
#include "transport/rail.h"
#include "transport/tcp/acceptor.h"
#include "transport/tcp/rail_core.h"
#include "transport/tcp/tcp_endpoint.h"

namespace railccl::tcp {

class TcpRail final : public Rail, public AcceptorHost, public EndpointDirectory {
 public:
  static Result<std::unique_ptr<Rail>> open(const TcpRailConfig& config,
                                            const TcpRailOptions& options);

  // Rail:
  const RailInfo& info() const override { return core_.config().info; }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) override;
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t endpoint_tag) override;
  bool progress(TimeNs now, EventSink& sink) override;
  bool flush(TimeNs now, EventSink& sink) override;
  // The descriptors are always watched: the poller need not be asked before a sleep, but after it.
  void prepare_sleep() override { calls_to_wake_ = 2; }
  int wake_fd() const override { return core_.poller().fd(); }

  // AcceptorHost:
  Expectation expectation(uint64_t endpoint_id) override;
  void on_accepted(uint64_t endpoint_id, LaneId lane, UniqueFd fd) override;
  void warn_once(std::string_view kind, const std::string& message) override;

  // EndpointDirectory:
  void on_expectation_changed(uint64_t endpoint_id) override;
  void on_destroyed(TcpEndpoint& endpoint) override;

 private:
  TcpRail(const TcpRailConfig& config, const TcpRailOptions& options, net::Poller poller);

  bool serve_ready(TimeNs now);
  bool ask_poller();
  void serve_timers(TimeNs now);
  TimeNs wanted_tick() const;
  void on_port_change(const Status& usable);

  RailCore core_;
  std::unordered_map<uint64_t, TcpEndpoint*> endpoints_;  // by endpoint id
  std::vector<TcpEndpoint*> connecting_;
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<net::PortMonitor> monitor_;
  TimeNs next_tick_ = 0;
  TimeNs tick_period_ = 0;  // of the poller; 0: none
  TimeNs quiet_at_ = 0;     // no acknowledgement has been held for a while
  TimeNs asked_poller_at_ = 0;
  int fruitless_calls_ = 0;  // of progress(), in a row
  int calls_to_wake_ = 0;    // of progress(), until the owner has slept; 0: he does not
};

}  // namespace railccl::tcp
