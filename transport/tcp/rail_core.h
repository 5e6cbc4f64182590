// What the endpoints of one TCP rail share, and how they tell the rail that they have work. Owned
// by the rail; its thread.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/memory_table.h"
#include "transport/net/poller.h"
#include "transport/rail.h"
#include "transport/tcp/tcp_transport.h"
#include "transport/tcp/wire.h"

namespace railccl::tcp {

// An endpoint, as the rail's work lists see it.
class RailMember {
 public:
  virtual ~RailMember() = default;
  // Sends what waits on the lane; true: there is more, and the socket may take it now.
  virtual bool flush(LaneId lane) = 0;
  // Raises the events of an end.
  virtual void report() = 0;

 private:
  friend class RailCore;
  bool wants_flush_ = false;
  bool wants_acknowledge_ = false;
  TimeNs acknowledge_at_ = 0;
  bool wants_report_ = false;
};

class RailCore {
 public:
  RailCore(const TcpRailConfig& config, const TcpRailOptions& options, net::Poller poller)
      : config_(config), options_(options), poller_(std::move(poller)), staging_(kStagingBytes) {}

  const TcpRailConfig& config() const { return config_; }
  const TcpRailOptions& options() const { return options_; }
  net::Poller& poller() { return poller_; }
  const net::Poller& poller() const { return poller_; }
  MemoryTable& memory() { return memory_; }
  const MemoryTable& memory() const { return memory_; }
  // Scratch for one call of receive.
  std::span<std::byte> staging() { return staging_; }

  // Events may be raised between these two.
  void begin_progress(EventSink& sink, TimeNs now) {
    sink_ = &sink;
    now_ = now;
  }
  void end_progress();
  void raise(const RailEvent& event) { sink_->on_event(event); }

  // The member has puts to send; owes acknowledgements; has changed and has events to report.
  // Outside of progress this makes the rail's descriptor readable.
  void want_flush(RailMember& member);
  void want_acknowledge(RailMember& member, TimeNs within);
  void want_report(RailMember& member);
  // What the member owed went out with something else.
  void acknowledged(RailMember& member) { member.wants_acknowledge_ = false; }
  // The member is being destroyed.
  void forget(RailMember& member);
  // Serve the members that want it; true when there were any. Acknowledgements wait until they are
  // due, or share a system call with the answer to what they acknowledge.
  bool flush_members();
  bool acknowledge_members();
  // Acknowledgements are not due yet: progress must be called again before the owner sleeps.
  bool holds_acknowledgements() const { return !to_acknowledge_.empty(); }
  bool report_members();

  // Tells the operator, the first time that this kind of thing happens.
  void warn_once(std::string_view kind, const std::string& message);

 private:
  static constexpr size_t kStagingBytes = 64 * 1024;

  bool has_work() const;
  void wake_for_work();

  const TcpRailConfig config_;
  const TcpRailOptions options_;
  net::Poller poller_;
  MemoryTable memory_;
  std::vector<std::byte> staging_;
  EventSink* sink_ = nullptr;  // during progress
  TimeNs now_ = 0;
  bool holds_new_ = false;  // acknowledgements since the last wake-up
  std::vector<RailMember*> to_flush_;
  std::vector<RailMember*> flushing_;
  std::vector<RailMember*> to_acknowledge_;
  std::vector<RailMember*> to_report_;
  std::set<std::string, std::less<>> warned_;
};

}  // namespace railccl::tcp
