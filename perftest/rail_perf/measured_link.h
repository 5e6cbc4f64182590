// One link that is measured: over one rail, or over all. Owned by a Session, driven under the
// engine's lock.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "perftest/rail_perf/activity.h"
#include "perftest/rail_perf/wire.h"
#include "src/core/rail_host.h"

namespace railccl::perftest::railperf {

class MeasuredLink final : public EndpointEventSink, private LinkSink {
 public:
  // Bytes for the link of the same number at the other node.
  using Send = std::function<void(std::vector<std::byte> message)>;

  // `host` outlives the object.
  static Result<std::unique_ptr<MeasuredLink>> create(uint32_t number, const LinkOptions& options,
                                                      RailHost& host, Send send);
  ~MeasuredLink() override;

  uint32_t number() const { return number_; }
  std::vector<std::byte> offer(const RegisteredBuffer& target) const;
  Status on_offer(const LinkOffer& offer, TimeNs now);
  Status on_frame(std::span<const std::byte> frame, TimeNs now);

  bool connected() const { return connected_; }
  // Ok, or what ended it; the first error sticks.
  const Status& status() const { return status_; }
  const RemoteBuffer& target() const { return target_; }
  std::vector<LinkRailStats> stats() const { return link_->stats(); }

  // Null: none.
  void begin(Activity* activity) { activity_ = activity; }
  // True while somebody waits for what the activity does.
  bool busy() const { return activity_ != nullptr && status_.is_ok(); }
  bool progress(TimeNs now);
  TimeNs next_deadline() const { return link_->next_deadline(); }
  // When something of the other node last came or was acknowledged.
  TimeNs alive_at() const { return alive_at_; }

  void close(const Status& reason, TimeNs now) { link_->close(reason, now); }
  bool closed() const { return link_->closed(); }

  // EndpointEventSink
  void on_endpoint_event(int pair, const RailEvent& event, TimeNs now) override;
  void on_port_event(int local_rail, const RailEvent& event, TimeNs now) override;

 private:
  MeasuredLink(uint32_t number, RailHost& host, Send send)
      : number_(number), host_(host), send_(std::move(send)) {}
  void fail(const Status& status);

  // LinkSink
  void on_connected(int peer) override;
  void on_put_done(int peer, uint64_t token, const Status& status) override;
  void on_notification(int peer, uint64_t tag) override;
  void on_message(int peer, std::span<const std::byte> message) override;
  void on_failed(int peer, const Status& status) override;
  void send_on_control_path(int peer, std::span<const std::byte> bytes) override;

  uint32_t number_;
  RailHost& host_;
  Send send_;
  uint64_t tag_base_ = 0;
  std::unique_ptr<Link> link_;
  RemoteBuffer target_;
  bool connected_ = false;
  Status status_;
  Activity* activity_ = nullptr;
  TimeNs alive_at_ = 0;
  TimeNs now_ = 0;
};

}  // namespace railccl::perftest::railperf
