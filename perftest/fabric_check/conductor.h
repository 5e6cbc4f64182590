// Rank 0's side: leads all ranks through the stages of the check and collects what they find. Ends
// in bounded time whatever the others do; what is missing then is in the result.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "perftest/fabric_check/counters.h"
#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/options.h"
#include "perftest/fabric_check/pair_test.h"
#include "perftest/fabric_check/thresholds.h"
#include "perftest/fabric_check/tournament.h"
#include "perftest/fabric_check/worker.h"

namespace railccl::perftest::fabric {

struct World {
  ncclComm_t comm = nullptr;  // for orders and answers only
  int ranks = 1;
};

class Conductor {
 public:
  // `say` gets a line for each stage as it begins.
  Conductor(const World& world, const Options& options, const Thresholds& thresholds,
            Worker& worker, std::function<void(const std::string&)> say);

  const Fabric& run();
  // Sends the others home with their exit code.
  void end(int exit_code);

 private:
  using Answers = std::map<int, Json>;  // by rank
  using Stage = bool (Conductor::*)();

  // Asks the ranks, does rank 0's own part, and waits for the answers; none when someone did not
  // answer, which is noted.
  std::optional<Answers> ask(const std::map<int, Json>& commands, double seconds);
  std::optional<Answers> ask_all(const Json& command, const std::vector<int>& ranks,
                                 double seconds);
  void note_silence(const Lines::Answers& answers);
  void note_missing(int node, const std::string& why);
  // The rank that says so need not be the one to blame.
  void note_trouble(int rank, const Failure& failure);
  bool begin(const std::string& stage);

  // The stages; false: the check ends here.
  bool describe();
  bool read_counters_before();
  bool measure_pairs();
  bool measure_suspects();
  bool measure_at_once();
  bool check_collectives();
  bool drill_rails();
  bool read_counters_after();

  bool measure_round(const Round& round, bool again);
  void store(const NodePair& pair, const Answers& answers, bool again);
  void keep(PairValue& kept, const PairValue& value, bool again) const;
  std::optional<std::string> join(const std::string& name, const std::vector<int>& ranks);
  std::optional<std::map<std::pair<int, int>, Counters>> read_all_counters();
  AtOnce at_once(const std::vector<bool>& rails, int rail);
  std::string drill_obstacle(int rail) const;

  int leader(int node) const { return fabric_.nodes[static_cast<size_t>(node)].ranks.front(); }
  std::vector<int> leaders() const;
  std::vector<int> all_ranks() const;
  int node_of(int rank) const;
  int common_rails(const NodePair& pair) const;
  double least_gbps() const;
  double pair_seconds() const;

  const World world_;
  const Options& options_;
  const Thresholds& thresholds_;
  Worker& worker_;
  std::function<void(const std::string&)> say_;
  Lines lines_;
  Deadline began_;
  Deadline until_;
  std::string stage_;
  Fabric fabric_;
  std::map<std::pair<int, int>, Counters> counters_before_;  // by node and rail
};

}  // namespace railccl::perftest::fabric
