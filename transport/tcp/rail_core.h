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
#include "transport/tcp/hot_lanes.h"
#include "transport/tcp/tcp_transport.h"
#include "transport/tcp/wire.h"

namespace railccl::tcp {

// A small put is mostly answered by one, which carries its acknowledgement along. If not, it is
// acknowledged by itself: soon where progress is polled, later where the tick has to wake somebody.
constexpr TimeNs kAcknowledgeWhenPolled = 200 * kMicrosecond;
constexpr TimeNs kAcknowledgeWithin = kMillisecond;

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
  bool wants_report_ = false;
  bool owes_acknowledgement_ = false;
  bool listed_ = false;        // in to_acknowledge_
  TimeNs acknowledge_at_ = 0;  // by itself; while it owes
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
  HotLanes& hot_lanes() { return hot_lanes_; }

  // Events may be raised between these two.
  void begin_progress(EventSink& sink, TimeNs now) {
    sink_ = &sink;
    now_ = now;
  }
  void end_progress() { sink_ = nullptr; }
  void raise(const RailEvent& event) { sink_->on_event(event); }

  TimeNs now() const { return now_; }

  // The member has puts to send.
  void want_flush(RailMember& member);
  // It owes acknowledgements: with the next call of progress, so that they can share a system call
  // with what is put in reaction, or when anything is sent, and at the latest after
  // kAcknowledgeWithin.
  void want_acknowledge(RailMember& member, bool soon);
  // It has changed and has events to report. Outside of progress this makes the rail's descriptor
  // readable.
  void want_report(RailMember& member);
  // What the member owes has waited for long enough.
  bool must_acknowledge(const RailMember& member) const {
    return member.owes_acknowledgement_ && !member.listed_;
  }
  // What it owed goes out.
  void acknowledged(RailMember& member) { member.owes_acknowledgement_ = false; }
  // The member is being destroyed.
  void forget(RailMember& member);
  // Serve the members that want it; true when there were any.
  bool flush_members();
  bool acknowledge_members();
  // Acknowledgements wait for something to travel with: progress must be called again within
  // kAcknowledgeWithin.
  bool holds_acknowledgements() const { return !to_acknowledge_.empty(); }
  // Something is left to do for the next call of progress.
  bool has_work() const { return !to_flush_.empty() || !to_report_.empty() || soon_; }
  bool report_members();

  // Tells the operator, the first time that this kind of thing happens.
  void warn_once(std::string_view kind, const std::string& message);

 private:
  static constexpr size_t kStagingBytes = 64 * 1024;

  const TcpRailConfig config_;
  const TcpRailOptions options_;
  net::Poller poller_;
  HotLanes hot_lanes_;
  MemoryTable memory_;
  std::vector<std::byte> staging_;
  EventSink* sink_ = nullptr;  // during progress
  TimeNs now_ = 0;
  bool soon_ = false;  // acknowledgements that leave with the next call of progress
  std::vector<RailMember*> to_flush_;
  std::vector<RailMember*> flushing_;
  std::vector<RailMember*> to_acknowledge_;
  std::vector<RailMember*> to_report_;
  std::set<std::string, std::less<>> warned_;
};

}  // namespace railccl::tcp
