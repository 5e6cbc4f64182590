// The control path: a tree of connections that is mended when ranks are lost, direct connections on
// demand, floods of what everybody must know. docs/bootstrap.md tells how and why.
//
// Three parts with one job each: Connections (control_path_tcp.h: sockets; in tests/simulate:
// none), Membership (who is there, the mended tree), GatherBook (all-gathers). This class passes
// between them what they say; it does no I/O and reads no clock.
//
// Threading as ControlPath.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/core/control_path.h"
#include "src/core/control_path_connections.h"
#include "src/core/control_path_gather.h"
#include "src/core/control_path_membership.h"
#include "src/core/control_path_records.h"

namespace railccl::boot {

// What a rank tells of itself at the bootstrap: how to reach it, how to name it, its blob.
struct Place {
  SocketAddress address;
  uint32_t pid = 0;
  std::string host;             // at most kMaxHostLabel bytes
  std::vector<std::byte> info;  // at most kMaxInfoBytes
};
std::vector<std::byte> pack(const Place& place);
Result<Place> unpack_place(std::span<const std::byte> bytes);
constexpr size_t kMaxHostLabel = 63;

class TreeControlPath final : public ControlPath, private ConnectionEvents {
 public:
  // The meeting comes first: the parent is told by set_parent, the places are gathered under
  // kPlacesSequence, driven by step(), until end_meeting opens the rest. What arrives early, from
  // ranks that are through already, is kept for the first progress().
  TreeControlPath(const ConnectionOptions& options, const RankTree& tree,
                  std::unique_ptr<Connections> connections, TimeNs now);
  ~TreeControlPath() override;
  static constexpr uint64_t kPlacesSequence = 0;
  void set_parent(const SocketAddress& address);
  void step(TimeNs now);
  std::optional<Status> problem()
      const;  // the first rank that was lost, or error that was announced
  bool failure_announced() const { return failure_.has_value(); }
  Status end_meeting();

  int rank() const override { return options_.rank; }
  int ranks() const override { return options_.ranks; }
  std::span<const std::byte> info(int rank) const override;
  Status send(int peer, std::span<const std::byte> message) override;
  void announce_failure(const Status& status) override;
  Status begin_gather(uint64_t sequence, std::span<const std::byte> mine) override;
  const std::vector<std::vector<std::byte>>* poll_gather(uint64_t sequence) override;
  bool progress(TimeNs now, ControlSink& sink) override;
  int wake_fd() const override;
  TimeNs next_deadline() const override;
  void close(const Departure& departure) override;
  bool closed() const override;
  bool delivered() const override;

 private:
  struct Event {
    enum class Kind : uint8_t { kLost, kFailure, kLeft } kind;
    int rank;
    Status status;        // of kLost and kFailure
    Departure departure;  // of kLeft
  };

  void on_up(int peer) override;
  Status on_frame(int peer, const Frame& frame) override;
  void on_down(int peer, DownCause cause, const std::string& reason) override;
  std::optional<SocketAddress> address_of(int peer) override;

  bool settle();  // true when there was anything to do
  void take_leave_of(const GoneRecord& record);
  void learn_failure(const FailureRecord& record);
  void learn_goodbyes(const std::vector<Goodbye>& goodbyes);
  void mend();
  void probe_host_of(int silent);
  void pass_goodbyes();
  Status take_message(int peer, std::span<const std::byte> message);
  void deliver_early(ControlSink& sink);
  bool deliver(ControlSink& sink);

  void tell(int peer, ControlFrame type, std::span<const std::byte> payload);
  void flood(ControlFrame type, std::span<const std::byte> payload);
  std::string describe(int rank) const;
  std::string departure_text(int rank) const;
  std::string loss_text(int peer, DownCause cause, const std::string& reason) const;

  ConnectionOptions options_;
  std::unique_ptr<Connections> connections_;
  Membership members_;
  GatherBook book_;
  std::optional<SocketAddress> parent_address_;  // while the ranks meet
  std::vector<std::vector<std::byte>> places_;   // packed, by rank; empty while the ranks meet
  std::unordered_map<int, GoneRecord> gone_;
  std::deque<GoneRecord> to_settle_;
  std::optional<FailureRecord> failure_;
  std::vector<Goodbye> goodbyes_;        // all that are known
  std::vector<Goodbye> fresh_goodbyes_;  // not yet passed on
  TimeNs goodbyes_at_ = 0;               // when they are
  std::deque<Event> events_;
  std::deque<std::pair<int, std::vector<std::byte>>>
      early_;  // messages before the first progress()
  size_t early_bytes_ = 0;
  ControlSink* sink_ = nullptr;  // during progress()
  TimeNs now_ = 0;
  bool dirty_ = true;  // something changed that settle() has to look at
  bool closing_ = false;
  bool outcast_ = false;  // the others have declared this rank lost
};

}  // namespace railccl::boot
