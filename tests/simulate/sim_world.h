// All ranks of a run in one thread, over one simulated network and one virtual clock. The same
// script and faults give the same run, event by event.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/core/rank_tree.h"
#include "tests/simulate/fault.h"
#include "tests/simulate/sim_control.h"
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
  uint64_t pictures = 0;  // versions of the rails that were used after the first
  uint64_t demotions = 0;
  uint64_t promotions = 0;
  // What was injected, and how much of it while the run was in some phase.
  std::array<uint64_t, kFaultKinds> faults{};
  std::array<uint64_t, kRailFaultKinds> rail_faults{};
  std::array<uint64_t, kPhases> in_phase{};
};

class SimWorld final : private SimRankObserver {
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
  void strike(const Fault& fault);
  void count(const Fault& fault);
  bool in_phase(Fault::Phase phase) const;
  void on_opened(int rank) override;
  void on_phase(Fault::Phase phase) override;
  void on_collective(int rank, uint64_t number, const RailPicture& picture) override;
  void on_process_end(int rank) override { control_net_->end_process(rank); }
  void tell_parent_soon(int rank);
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
  boot::RankTree tree_;
  std::unique_ptr<SimControlNet> control_net_;
  std::vector<DefectMemory> defect_memory_;
  std::vector<std::unique_ptr<LocalDomain>> local_domains_;  // by rank, until the rank is made
  std::vector<std::unique_ptr<SimRank>> ranks_;
  std::vector<bool> awake_;  // by rank: something is there for it
  std::vector<TimeNs> due_;  // by rank: when it wants to be called
  std::vector<bool> dead_;
  std::vector<TimeNs> frozen_until_;
  std::vector<Fault> waiting_;                // for their phase
  TimeNs ready_at_ = 0;                       // when the last collective was begun; 0: none was
  std::map<uint64_t, RailPicture> pictures_;  // by collective, of the first rank that began it
  uint64_t events_ = 0;
  RunResult result_;
};

}  // namespace railccl::simulate
