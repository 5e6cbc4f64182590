// One rank of a simulated run: its rails, links (Peers) and Executor are the library's own; around
// them is what the communicator does, without threads, sockets and clocks: calls the operations of
// the workload one after another, checks each result, says goodbye, ends. Ranks of one node have a
// local domain.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/core/executor.h"
#include "src/core/local_domain.h"
#include "src/core/p2p.h"
#include "src/core/peers.h"
#include "src/core/rail_host.h"
#include "src/core/rail_memory.h"
#include "tests/simulate/defect.h"
#include "tests/simulate/judge.h"
#include "tests/simulate/watch.h"
#include "tests/simulate/workload.h"

namespace railccl::simulate {

// What the ranks of a run share and do not change: the workload, the plans of its operations, and,
// once the run without faults has been, its results.
struct Script {
  Workload workload;
  std::shared_ptr<const Layout> layout;
  std::vector<NodeInfo> nodes;
  std::vector<std::vector<std::shared_ptr<const OperationPlan>>> plans;  // by operation, rank
  std::vector<std::vector<std::vector<std::byte>>> inputs;               // by operation, rank
  std::vector<std::vector<std::vector<std::byte>>> results;              // by operation, rank
};

// The control path between ranks: reliable, in order, slow.
struct ControlMessage {
  enum class Kind : uint8_t { kForPeers, kGoodbye, kFailure };
  Kind kind = Kind::kForPeers;
  int from = 0;
  int to = 0;
  std::vector<std::byte> bytes;
  Status failure;
};
class ControlNet {
 public:
  virtual ~ControlNet() = default;
  virtual void send(ControlMessage message) = 0;
};

// Scratch of a rank in its local domain: what pairs of a node use, then that of schedules.
uint64_t local_scratch_bytes(const Workload& workload);

struct SimRankParts {
  int rank = 0;
  Script* script = nullptr;  // results are written by the run without faults
  bool record = false;       // this is that run
  std::vector<std::unique_ptr<Rail>> rails;
  std::unique_ptr<LocalDomain> local;  // null: alone on its node
  Watch* watch = nullptr;
  Judge* judge = nullptr;
  ControlNet* control = nullptr;
  Defect defect = Defect::kNone;
};

class SimRank final : private PeersObserver,
                      private RailHost,
                      private EventSink,
                      private LocalNotificationSink {
 public:
  explicit SimRank(SimRankParts parts);
  ~SimRank() override;

  void on_control(const ControlMessage& message, TimeNs now);
  void abort();
  // True when anything happened.
  bool progress(TimeNs now);
  TimeNs next_deadline(TimeNs now) const;

  // All operations are over, with success or an error, and all links are closed.
  bool ended() const { return stage_ == Stage::kEnded; }
  const Status& error() const { return error_; }
  size_t operations_done() const { return next_; }
  // Of now, or of the moment at which the end began.
  std::vector<Peers::RailReport> rail_reports() const {
    return reports_.empty() ? peers_->rail_reports() : reports_;
  }
  // The peers to whom there is a link, in the order in which the links were made.
  std::vector<int> linked() const { return peers_->linked(); }
  uint64_t bytes_received_from(int peer) const;
  std::string describe() const;

 private:
  enum class Stage : uint8_t { kPause, kRun, kGoodbye, kClosing, kEnded };

  // RailHost
  std::span<Rail* const> rails() const override { return rail_pointers_; }
  uint64_t add_endpoint_sink(EndpointEventSink* sink) override;
  void remove_endpoint_sink(uint64_t tag_base) override;
  // EventSink
  void on_event(const RailEvent& event) override;
  // LocalNotificationSink
  void on_local_notification(int index, uint64_t tag) override;
  // PeersObserver
  void on_peers_failed(const Status& status) override { set_error(status, true); }
  void on_put_done(uint64_t token, const Status& status) override;
  bool on_small_data(int peer, const MessageHeader& header,
                     std::span<const std::byte> body) override;
  void send_to_peers(int peer, std::span<const std::byte> bytes) override;

  bool progress_rails(TimeNs now);
  bool step(TimeNs now);
  Result<bool> step_operation(TimeNs now);
  ExecutorServices services();
  ScratchView scratch_view() const;
  bool is_pairwise() const { return call_.collective == Collective::kSendRecv; }
  Status begin_pairwise(TimeNs now);
  bool begin_operation(TimeNs now);
  void finish_operation(TimeNs now);
  void check_result();
  void next_operation(TimeNs now);
  bool step_goodbye(TimeNs now);
  bool end_with_error(TimeNs now);
  void set_error(const Status& status, bool announce);
  bool a_rail_is_down() const;
  std::vector<std::byte> with_old_epochs(int peer, std::span<const std::byte> bytes) const;

  SimRankParts parts_;
  const Workload& workload_;
  std::vector<Rail*> rail_pointers_;
  std::vector<EndpointEventSink*> sinks_;
  int current_rail_ = 0;
  TimeNs now_ = 0;

  std::unique_ptr<std::byte[]> scratch_;  // where there is no local domain
  std::vector<std::byte> input_;
  std::vector<std::byte> output_;
  RailMemory rail_memory_;
  std::shared_ptr<const RegisteredBuffer> scratch_memory_;
  std::vector<Inbox> inboxes_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<P2p> p2p_;

  Stage stage_ = Stage::kPause;
  size_t next_ = 0;  // operation
  uint64_t collectives_ = 0;
  Call call_;
  TimeNs pause_until_ = 0;
  TimeNs close_deadline_ = 0;
  std::vector<bool> goodbyes_;
  std::vector<Peers::RailReport> reports_;
  Status error_;
  bool announce_ = false;
  bool credit_was_lost_ = false;
  std::vector<OldEpochs> old_epochs_;  // by peer
};

}  // namespace railccl::simulate
