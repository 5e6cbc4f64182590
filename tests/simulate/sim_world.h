// All ranks of a run in one thread, over one simulated network and one virtual clock. The same
// script and faults give the same run, event by event.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulate/fault.h"
#include "tests/simulate/sim_rank.h"

namespace railccl::simulate {

// Plans, inputs, layout; results are empty.
Result<std::unique_ptr<Script>> make_script(uint64_t seed);

struct RunOptions {
  uint64_t seed = 1;  // of the network: jitter, losses, delays of the control path
  bool record = false;
  Defect defect = Defect::kNone;
  std::vector<Fault> faults;
  TimeNs deadline = kSecond;
};

struct RunResult {
  std::string violation;  // empty: none
  Status error;           // the first one that a rank ended with
  TimeNs ended_at = 0;
  uint64_t events = 0;
  uint64_t failures = 0;  // of rails
  uint64_t recoveries = 0;
  uint64_t replayed_bytes = 0;
  uint64_t posted_again = 0;
};

class SimWorld final : private ControlNet {
 public:
  SimWorld(Script& script, const RunOptions& options);
  ~SimWorld() override;
  RunResult run();

 private:
  void make_local_domains();
  void make_local_domain(const std::vector<int>& ranks);
  void add_rank(int rank);
  void wake_node_of(size_t rank);
  void inject(const Fault& fault);
  void announce_death(int rank);
  void send(ControlMessage message) override;
  bool deliver_control();
  bool progress_ranks();
  void advance();
  bool all_ended() const;
  bool alive(size_t rank) const { return !dead_[rank]; }
  bool frozen(size_t rank) const { return dead_[rank] || now() < frozen_until_[rank]; }
  void check_end();
  void check_counts();
  static uint64_t link_number(size_t rank, size_t link) { return uint64_t{rank} << 32 | link; }
  void add_up(RunResult& result) const;
  std::string describe() const;
  TimeNs now() const { return network_->now(); }

  Script& script_;
  const Workload& workload_;
  RunOptions options_;
  Judge judge_;
  Watch watch_;
  std::unique_ptr<SimNetwork> network_;
  std::vector<DefectMemory> defect_memory_;
  std::vector<std::unique_ptr<LocalDomain>> local_domains_;  // by rank, until the rank is made
  std::vector<std::unique_ptr<SimRank>> ranks_;
  std::vector<bool> awake_;  // by rank: something is there for it
  std::vector<TimeNs> due_;  // by rank: when it wants to be called
  std::vector<bool> dead_;
  std::vector<TimeNs> frozen_until_;
  std::vector<TimeNs> control_late_until_;  // by sender
  struct InFlight {
    TimeNs at = 0;
    ControlMessage message;
  };
  std::vector<std::deque<InFlight>> control_;  // from * ranks + to, in order
  TimeNs control_next_ = kNever;
  uint64_t events_ = 0;
};

}  // namespace railccl::simulate
