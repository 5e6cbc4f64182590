// One rank of a simulated run: its rails, links (Peers), Executor, control path and agreement on
// rails (RailModel) are the library's own; around them is what the start and the communicator do,
// without threads, sockets and clocks: meets the other ranks, calls the operations of the workload
// one after another, checks each result, says goodbye, ends. Ranks of one node have a local domain.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/core/control_path_tree.h"
#include "src/core/executor.h"
#include "src/core/local_domain.h"
#include "src/core/p2p.h"
#include "src/core/peers.h"
#include "src/core/rail_host.h"
#include "src/core/rail_memory.h"
#include "src/core/rail_model.h"
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
  // By operation and rank.
  using Plans = std::vector<std::vector<std::shared_ptr<const OperationPlan>>>;
  Plans plans;
  Plans alternatives;  // while a picture of the rails with an odd number is in force
  std::vector<std::vector<std::vector<std::byte>>> inputs;   // by operation, rank
  std::vector<std::vector<std::vector<std::byte>>> results;  // by operation, rank
};

// What a rank tells its world.
class SimRankObserver {
 public:
  virtual ~SimRankObserver() = default;
  // It listens: ranks that have it as parent can be told where.
  virtual void on_opened(int rank) = 0;
  virtual void on_phase(Fault::Phase phase) = 0;
  // The rank runs collective `number` on this picture of the rails.
  virtual void on_collective(int rank, uint64_t number, const RailPicture& picture) = 0;
  virtual void on_process_end(int rank) = 0;
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
  SimRankObserver* observer = nullptr;
  std::unique_ptr<boot::Connections> connections;
  Defect defect = Defect::kNone;
};

class SimRank final : private PeersObserver,
                      private ControlSink,
                      private RailHost,
                      private EventSink,
                      private LocalNotificationSink {
 public:
  explicit SimRank(SimRankParts parts);
  ~SimRank() override;

  void abort();
  // Its parent in the tree listens.
  void tell_parent();
  // True when anything happened.
  bool progress(TimeNs now);
  TimeNs next_deadline(TimeNs now) const;

  // All operations are over, with success or an error, and all links are closed.
  bool ended() const { return stage_ == Stage::kEnded; }
  bool opened() const { return control_ != nullptr; }
  bool starting() const { return stage_ <= Stage::kAgree; }
  bool finalizing() const { return stage_ >= Stage::kGoodbye && stage_ < Stage::kEnded; }
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
  enum class Stage : uint8_t {
    kArrive,   // not there yet
    kMeet,     // places are gathered over the tree
    kAgree,    // and what else the start gathers
    kPause,    // until the next operation is called
    kRun,      // an operation
    kGoodbye,  // as Communicator::say_goodbye
    kClosing,  // the links
    kParting,  // the control path
    kEnded,
  };

  // RailHost
  std::span<Rail* const> rails() const override { return rail_pointers_; }
  uint64_t add_endpoint_sink(EndpointEventSink* sink) override;
  void remove_endpoint_sink(uint64_t tag_base) override;
  // EventSink
  void on_event(const RailEvent& event) override;
  // LocalNotificationSink
  void on_local_notification(int index, uint64_t tag) override;
  // ControlSink
  void on_control_message(int peer, std::span<const std::byte> message) override;
  void on_peer_lost(int peer, const Status& status) override;
  // All ranks of a workload call the same operations, so nobody waits for one that has left.
  void on_peer_left(int /*peer*/, const Departure& /*departure*/) override {}
  void on_failure_announced(int origin, const Status& status) override;
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
  void arrive(TimeNs now);
  bool step_meeting(TimeNs now);
  bool step_agreement(TimeNs now);
  void take_message(int peer, std::span<const std::byte> message);
  bool progress_control(TimeNs now);
  std::vector<std::byte> tampered(std::span<const std::byte> message) const;
  std::shared_ptr<const OperationPlan> plan_in_force() const;
  void part(TimeNs now);
  bool step_parting(TimeNs now);
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
  std::unique_ptr<boot::TreeControlPath> control_;  // null: it has not arrived
  std::unique_ptr<RailModel> rail_model_;           // null: the start is not through
  // Messages that came before the start was through.
  std::vector<std::pair<int, std::vector<std::byte>>> early_;

  Stage stage_ = Stage::kArrive;
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
