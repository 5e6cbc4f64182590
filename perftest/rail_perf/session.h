// This node's part of a measurement: the control path to the others, the links to the other node of
// the pair, and the process's engine that drives both, as it does for collectives. The main thread
// calls; it waits by driving.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "perftest/rail_perf/measured_link.h"
#include "src/base/mapped_memory.h"
#include "src/core/control_looks.h"
#include "src/core/control_path.h"
#include "src/core/engine.h"
#include "src/core/rail_memory.h"

namespace railccl::perftest::railperf {

struct SessionOptions {
  int peer = -1;        // rank of the other node of the pair; -1: this rank takes no part
  LinkOptions link;     // self, peer and timeouts are set; pairs are not
  TimeNs spin_ns = 0;   // as for Engine::wait
  TimeNs patience = 0;  // without any sign of the other node in a wait
};

// What came over the control path for the main thread.
struct Incoming {
  Kind kind = Kind::kHello;
  std::vector<std::byte> body;
};

class Session final : private EngineClient, private ControlSink {
 public:
  // `early`: control messages that came before.
  Session(const SessionOptions& options, std::shared_ptr<Engine> engine,
          std::unique_ptr<ControlPath> control);
  // Closes the links and the control path; bounded.
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status send(std::span<const std::byte> message);
  // The next message for the main thread.
  Result<Incoming> receive();

  // Memory that the other node may put into and memory that puts come from, of so many bytes, with
  // a guard behind each that nobody writes to.
  Status make_buffers(uint64_t bytes);
  const RegisteredBuffer& sending() const { return *sending_; }
  const RegisteredBuffer& receiving() const { return *receiving_; }
  std::span<std::byte> send_area() { return {send_memory_.data(), area_bytes_}; }
  std::span<std::byte> receive_area() { return {receive_memory_.data(), area_bytes_}; }
  std::span<std::byte> guard() { return {receive_memory_.data() + area_bytes_, kGuardBytes}; }

  Status open_link(const std::vector<LinkOptions::Pair>& pairs);
  size_t links() const { return links_.size(); }
  Status offer_links();
  // Until it is connected; else why it is not.
  Status await_connected(uint32_t link);
  std::vector<LinkRailStats> stats(uint32_t link);
  Slots slots(uint32_t link, uint64_t bytes, uint64_t window) const;
  // Ok, or what ended it.
  Status link_status(uint32_t link) const;

  // Runs the activity until it is done.
  Status run(uint32_t link, Activity& activity);
  // Lets the activity run until another begins or it ends by end_activity.
  void begin(uint32_t link, Activity& activity);
  void end_activity();

  void close_links();
  // Until every rank has said goodbye; for ranks that only wait.
  Status await_end();
  // All other ranks end with this error. The error with which waits end on this one.
  void fail(const Status& status);
  Status error() const;

 private:
  static constexpr size_t kGuardBytes = 4096;

  // Drives until the condition holds; an error when the session or the link (if any) fails, or
  // nothing has come from the other node for too long. `busy`: polls as for an operation.
  Status wait(const std::function<bool()>& condition, bool busy, const MeasuredLink* link);
  bool is_over(const MeasuredLink* link) const;
  TimeNs alive_at() const;
  void close_control(TimeNs timeout);
  Result<std::shared_ptr<const RegisteredBuffer>> make_buffer(MappedMemory& memory);

  // EngineClient
  bool progress(TimeNs now) override;
  bool has_work() const override { return busy_; }
  TimeNs next_deadline() const override;
  void prepare_sleep() override {}
  void finish_sleep(TimeNs now, SleepEnd end) override { control_looks_.slept(now, end); }
  // ControlSink
  void on_control_message(int peer, std::span<const std::byte> message) override;
  void on_peer_lost(int peer, const Status& status) override;
  void on_failure_announced(int origin, const Status& status) override;
  // How a session ends is said in its own messages.
  void on_peer_left(int /*peer*/, const Departure& /*departure*/) override {}
  Status deliver(Kind kind, std::span<const std::byte> body);

  SessionOptions options_;
  std::shared_ptr<Engine> engine_;
  std::unique_ptr<ControlPath> control_;
  RailMemory rail_memory_;
  uint64_t area_bytes_ = 0;
  MappedMemory send_memory_;
  MappedMemory receive_memory_;
  std::shared_ptr<const RegisteredBuffer> sending_;
  std::shared_ptr<const RegisteredBuffer> receiving_;
  std::vector<std::unique_ptr<MeasuredLink>> links_;  // by number
  std::deque<Incoming> incoming_;
  Status error_;
  Activity* resident_ = nullptr;  // begun and not ended

  // Of the wait that is going on.
  const std::function<bool()>* condition_ = nullptr;
  const MeasuredLink* waited_link_ = nullptr;
  Completion* completion_ = nullptr;
  bool busy_ = false;
  bool is_closing_ = false;

  TimeNs now_ = 0;
  ControlLooks control_looks_;
  TimeNs heard_at_ = 0;  // control message of the peer
};

}  // namespace railccl::perftest::railperf
