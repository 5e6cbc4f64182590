// One rank of one communicator. Runs its operations in the order in which they were submitted, over
// shared memory inside the node and links between nodes; knows when it is over.
//
// Threading: submit, run, finalize, abort and the queries may be called by any thread. Operations
// are driven under `driving_`: by the progress engine, or, for a blocking call on a communicator of
// one node, by the caller himself, who then touches neither rails nor the control path.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/mapped_memory.h"
#include "src/base/mutex.h"
#include "src/base/status.h"
#include "src/base/trace.h"
#include "src/core/comm_options.h"
#include "src/core/control_looks.h"
#include "src/core/control_path.h"
#include "src/core/device_domain.h"
#include "src/core/engine.h"
#include "src/core/executor.h"
#include "src/core/local_domain.h"
#include "src/core/metrics_text.h"
#include "src/core/operation.h"
#include "src/core/operation_stats.h"
#include "src/core/p2p.h"
#include "src/core/peers.h"
#include "src/core/plan.h"
#include "src/core/rail_model.h"

namespace railccl {

// Gathers that the start makes on the control path; later ones are numbered from there.
constexpr uint64_t kStartGathers = 3;

// Control messages by sender, in the order in which they came.
using EarlyMessages = std::vector<std::pair<int, std::vector<std::byte>>>;
using EarlyGoodbyes = std::vector<std::pair<int, Departure>>;  // rank, how

class ExplainOutput;
class MetricsOutput;

// Files of the process that communicators report to; null: not wanted. They outlive them.
struct CommOutputs {
  MetricsOutput* metrics = nullptr;
  ExplainOutput* explain = nullptr;
};

// What the start (comm_start.h) has found out and made; moved into the communicator.
struct CommParts {
  CommOptions options;
  std::shared_ptr<Engine> engine;
  std::unique_ptr<ControlPath> control;
  std::vector<NodeInfo> nodes;  // by rank
  std::shared_ptr<const Layout> layout;
  std::unique_ptr<LocalDomain> local;    // null: alone on the node
  std::unique_ptr<DeviceDomain> device;  // null: calls on memory of GPUs go through the host's
  MappedMemory scratch;                  // when alone on the node
  uint64_t scratch_skip = 0;  // bytes of point-to-point slots in front of each rank's scratch
  bool direct = false;
  MachineModel machine;
  std::vector<double> network_rates;  // by rank, as in RailModelOptions
  int roots = 1;                      // of the bootstrap, which shape the tree of the control path
  EarlyMessages early_messages;       // that came before the communicator was there
  Status early_error;                 // the same: a rank that was lost or that announced a failure
  EarlyGoodbyes early_goodbyes;       // the same: ranks that have left
  std::string name;
  uint64_t id = 0;  // public_hash of its unique ids
  TraceSource trace_source = 0;
  CommOutputs outputs;
};

// Who is gone is known at once where it is noticed; why comes over the control path.
constexpr TimeNs kReasonTimeout = 2 * kSecond;
// After an error, for links to close and for ranks of the node to keep out of buffers.
constexpr TimeNs kCloseAfterError = kSecond;

class Communicator final : private EngineClient,
                           private ControlSink,
                           private PeersObserver,
                           private LocalNotificationSink {
 public:
  static Result<std::shared_ptr<Communicator>> create(CommParts parts);
  ~Communicator() override;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int ranks() const { return layout_->ranks(); }
  const std::string& name() const { return parts_.name; }
  const CommParts& parts() const { return parts_; }

  // Returns when the result is there or the communicator has failed.
  Status run(const Call& call);
  // Queues the operation; its completion says when it is over. Fails at once if the communicator
  // has.
  Status submit(const std::shared_ptr<Operation>& operation);
  // The same from a caller who may be about to wait for it.
  Status submit_for_caller(const std::shared_ptr<Operation>& operation);
  void wait(Operation& operation);

  // ok, or the error that ended the communicator. The first one sticks.
  Status error() const;
  // Fails the communicator on all ranks. Returns at once.
  void fail(const Status& status);
  // Until it has been closed, by whichever end.
  bool registered();

  // Ends in order: waits for queued operations, takes leave of the peers. Bounded.
  Status finalize();
  // Ends now, without the help of others. Bounded. The other ranks get an error that names this
  // one; threads that are in one of the other functions get an error too, and no operation of
  // theirs touches its buffers any more when this returns.
  void abort();

  // For split, shrink and the like: an all-gather of one blob per rank over the control path.
  // Collective. A rank that has left gives nothing: left() says how.
  Result<std::vector<std::vector<std::byte>>> gather(std::span<const std::byte> mine,
                                                     TimeNs timeout);

  // "rank 3 on host0 has closed its communicator", or ended, or given nothing.
  std::string left(int rank) const;

  // For shrink: the first of `members` (ranks of this communicator, which may have failed) makes a
  // unique id and sends it to the others over the control path. Called by all members alone.
  Result<std::vector<UniqueIdBytes>> share_id(const std::vector<int>& members);

  Status register_memory(const std::byte* address, size_t bytes);
  void deregister_memory(const std::byte* address);

  // Whether the call takes the path of small collectives, without a schedule.
  bool uses_small(const Call& call) const;
  // What would be done for a call otherwise, with reasons.
  Result<Decision> explain(const Call& call) const;
  // What the ranks hold to be true of their rails, and the model that follows from it.
  struct RailsInForce {
    RailPicture picture;
    MachineModel machine;
  };
  RailsInForce rails_in_force() const;
  // Whether the choice for this call stays that of the start when rails change.
  bool choice_is_kept(const Call& call) const;
  std::vector<Peers::RailReport> rail_reports() const;
  // Takes a rail of this rank (index among the engine's) out of use for this communicator, or lets
  // it come back. The last one that is on cannot be switched off.
  Status set_rail(int rail, bool on);
  // Under the driver lock.
  CommMetrics metrics() const;
  // Null: not counted.
  const OperationStats* stats() const { return stats_.get(); }

 private:
  explicit Communicator(CommParts parts);
  Status assemble() RAILCCL_REQUIRES(engine_.driver());
  std::unique_ptr<RailModel> make_rail_model();
  PlanInputs plan_inputs() const;
  PlanInputs device_plan_inputs() const;
  ExecutorServices services();

  // EngineClient
  bool progress(TimeNs now) override;
  bool has_work() const override { return queued_.load(std::memory_order_acquire) > 0; }
  bool polls() const override {
    return has_work() && (local_ != nullptr || executor_->computing());
  }
  TimeNs next_deadline() const override;
  void prepare_sleep() override;
  void finish_sleep(TimeNs now, SleepEnd end) override;
  bool depart() override RAILCCL_REQUIRES(engine_.driver());
  // ControlSink
  void on_control_message(int peer, std::span<const std::byte> message) override;
  void on_peer_lost(int peer, const Status& status) override;
  void on_failure_announced(int origin, const Status& status) override;
  void on_peer_left(int peer, const Departure& departure) override;
  // PeersObserver
  void on_peers_failed(const Status& status) override;
  void on_put_done(uint64_t token, const Status& status) override;
  bool on_small_data(int peer, const MessageHeader& header,
                     std::span<const std::byte> body) override;
  void send_to_peers(int peer, std::span<const std::byte> bytes) override;
  // LocalNotificationSink
  void on_local_notification(int index, uint64_t tag) override;

  enum class CommMessage : uint8_t {
    kForPeers = 1,
    kGoodbye = 2,
    kSharedId = 3,
    kRails = 4,
    kCall = 5
  };
  enum class Running : uint8_t { kNothing, kSmall, kSchedule };

  bool try_drive() { return !driving_.exchange(true); }
  void stop_driving() { driving_.store(false, std::memory_order_release); }
  // The rest is called while driving.
  bool drive(TimeNs now);
  void wake_up();
  bool start_next(TimeNs now);
  bool may_start(TimeNs now);
  // For which the last of the ranks may be late with its word.
  TimeNs hold_timeout() const { return parts_.options.peers.link.link_timeout_ns; }
  bool progress_rail_model(TimeNs now);
  void adopt_rail_picture();
  bool start_transfers(TimeNs now);
  Result<bool> step_transfers(TimeNs now);
  void complete(Operation& operation, const Status& status);
  Status start(const Call& call, TimeNs now);
  Status start_schedule(const Call& call, TimeNs now);
  void start_small(const Call& call);
  Result<bool> step(TimeNs now);
  Result<bool> step_small();
  Result<std::byte*> stage(uint64_t bytes);
  Result<Arithmetic> prepare(const Call& call);
  bool is_in_place(const Call& call) const;
  Status enqueue(const std::shared_ptr<Operation>& operation);
  static Status process_ends();
  Status run_here(const Call& call);
  Status await_here();
  void await_reason(const Status& status);
  void fail_operation(const Status& status);
  // `status` is the error if no other comes in time; the first one counts.
  void wait_for_reason(const Status& status);
  bool await_reason_until(TimeNs now);
  Result<bool> step_here();
  void sleep_here();
  bool must_keep_out();
  void await_node();
  bool node_is_out(TimeNs now, TimeNs deadline);
  static Status node_aborted();
  Status check_node(TimeNs now);
  bool ends_for_departure();
  bool transfers_end_for_departure(TimeNs now);
  void tell_call();
  void on_call_told(int peer, std::span<const std::byte> body);
  Status small_mismatch() const;
  void take_goodbye(int peer, std::span<const std::byte> bytes);
  void take_shared_id(std::span<const std::byte> bytes);
  void watch_for_stall(bool worked, TimeNs now);
  uint64_t payload() const { return current_call_.count * current_call_.element(); }
  void trace_begin();
  void trace_end(const Status& status, TimeNs now);
  void note_end(const Status& status);
  void trace_long_operation();
  void trace_sleep();
  void finish_current(const Status& status);
  bool end_with_error(TimeNs now);
  void set_error(const Status& status, bool announce);
  void say_goodbye(TimeNs deadline);
  // Under the driver lock: an operation is queued, or runs, also on its caller's own thread.
  bool busy() const { return queued_.load() > 0 || driving_.load(); }
  // Of several threads that end the communicator the first one closes, the others wait for it.
  void close_paths(const Status& reason, TimeNs links_deadline, TimeNs control_deadline);
  bool begin_closing();

  CommParts parts_;
  int rank_;
  std::shared_ptr<const Layout> layout_;
  bool one_node_;
  Engine& engine_;
  ControlPath* control_;
  LocalDomain* local_;
  WaitingPolicy policy_;  // of a caller that drives its own operation
  RailMemory rail_memory_;
  std::shared_ptr<const RegisteredBuffer> scratch_memory_;
  std::vector<Inbox> inboxes_;  // by rank
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<PlanCache> plans_;
  std::unique_ptr<PlanCache> device_plans_;  // null: no call is on a device
  std::unique_ptr<RailModel> rail_model_;    // null: one node, or the model stays as it is
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<P2p> p2p_;
  std::unique_ptr<OperationStats> stats_;  // null: nobody wants it
  std::byte* staged_ = nullptr;  // shared heap, for inputs that are copied or scaled first
  size_t staged_bytes_ = 0;

  std::atomic<bool> driving_{false};
  Running running_ = Running::kNothing;
  uint64_t sequence_ = 0;  // collectives begun
  // Ranks that have left took part in no more than so many; the rank and how are written first.
  std::atomic<int> left_rank_{-1};
  std::atomic<bool> left_at_exit_{false};
  std::atomic<uint64_t> left_after_{UINT64_MAX};
  Call current_call_;
  std::shared_ptr<Operation> current_;
  TimeNs clock_ = 0;  // the driver's last reading
  TimeNs began_ = 0;  // the running operation
  bool begin_traced_ = false;
  bool armed_ = false;       // the local doorbell writes to a descriptor
  bool asleep_ = false;      // as the trace knows it
  TimeNs end_deadline_ = 0;  // of closing the links after an error; 0: not closing

  Mutex queue_mutex_;
  // Collectives, one at a time; point-to-point, all at once.
  std::deque<std::shared_ptr<Operation>> queue_ RAILCCL_GUARDED_BY(queue_mutex_);
  std::deque<std::shared_ptr<Operation>> transfer_queue_ RAILCCL_GUARDED_BY(queue_mutex_);
  std::atomic<bool> transfers_wait_{false};  // in transfer_queue_; looked at without its lock
  std::atomic<int> queued_{0};               // in a queue or running

  mutable Mutex error_mutex_;
  Status error_ RAILCCL_GUARDED_BY(error_mutex_);
  std::atomic<bool> failed_{false};
  std::atomic<bool> announce_{false};  // the error still has to be told
  std::atomic<bool> departed_{false};  // the process ends, and nothing is begun any more

  TimeNs now_ = 0;  // of the engine's round
  ControlLooks control_looks_;
  TimeNs last_progress_ = 0;
  TimeNs node_abort_seen_ = 0;  // 0: not seen
  Status unexplained_;          // an operation failed because a peer is gone; the reason may come
  TimeNs reason_deadline_ = 0;  // until then; 0: none
  TimeNs held_since_ = 0;  // the next operation waits for an agreement on rails; 0: it does not
  bool stall_reported_ = false;
  uint64_t told_ =
      0;  // the collective whose call this rank has told its peers, as it does not move
  uint64_t gathers_ = kStartGathers;
  std::vector<bool> rails_off_ RAILCCL_GUARDED_BY(engine_.driver());  // by rail
  std::deque<UniqueIdBytes> shared_ids_;  // received for shrinks that have not asked yet
  std::vector<bool> goodbyes_;            // by rank: said that it needs nothing more from us
  std::map<int, Departure> departures_;   // by rank
  bool somebody_exited_ = false;          // of those: ranks agree on rails no more
  TimeNs transfers_wait_until_ = 0;       // for what those have sent
  bool looked_again_ = false;             // since then
  std::vector<bool> lost_;                // by rank: its process or host is gone
  bool registered_ RAILCCL_GUARDED_BY(engine_.driver()) = false;  // with the engine
  bool closing_ RAILCCL_GUARDED_BY(engine_.driver()) = false;
};

}  // namespace railccl
