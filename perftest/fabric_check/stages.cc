// Conductor: the stages that measure (see conductor.h).
#include <algorithm>
#include <cmath>

#include "perftest/fabric_check/conductor.h"
#include "perftest/fabric_check/statistics.h"
#include "perftest/fabric_check/verdict.h"
#include "perftest/fabric_check/wire.h"

namespace railccl::perftest::fabric {
namespace {

constexpr double kAtOnceSeconds = 0.5;
constexpr uint64_t kSmallBytes = 64 << 10;  // of a collective
constexpr uint64_t kMostStepBytes = 16 << 20;
constexpr int kDrillOperations = 10;
constexpr const char* kCollectives[] = {"all_reduce", "all_gather",     "broadcast",
                                        "reduce",     "reduce_scatter", "alltoall",
                                        "gather",     "scatter",        "sendrecv"};

// So much data that it takes about `seconds` at this rate, in steps of 64 KiB.
uint64_t bytes_for(double seconds, double gbps) {
  const auto bytes = static_cast<uint64_t>(std::max(gbps, 0.0) * 1e9 / 8 * seconds);
  return std::clamp(bytes / kSmallBytes * kSmallBytes, kSmallBytes, kMostStepBytes);
}

constexpr const char* kNotAll = "not all nodes reach each other on it";

// No way that was tried was dead.
bool reaches_all(const Matrix& matrix) {
  for (const NodePair& pair : all_pairs(static_cast<int>(matrix.nodes()))) {
    const PairState state = matrix.at(pair.first, pair.second).state;
    if (state == PairState::kUnreachable || state == PairState::kFailed) return false;
  }
  return true;
}

bool both_ways_measured(const Matrix& matrix, int node, int other) {
  return matrix.at(node, other).state == PairState::kMeasured &&
         matrix.at(other, node).state == PairState::kMeasured;
}

}  // namespace

// --- Pairs ---------------------------------------------------------------------------------------

// Each rail both ways with its probes, and the time that rails are given to come up.
double Conductor::pair_seconds() const {
  return (fabric_.rail_count() + 1) * (6 * options_.seconds + 8) + options_.answer_s;
}

bool Conductor::measure_pairs() {
  const auto rounds = spread_rounds(tournament(fabric_.node_count()), options_.rounds);
  for (size_t i = 0; i < rounds.size(); ++i) {
    if (!begin(fmt::format("pairs, round {} of {}: {} at a time, each of {} rails alone, then all",
                           i + 1, rounds.size(), rounds[i].size(), fabric_.rail_count())) ||
        !measure_round(rounds[i], false)) {
      return false;
    }
  }
  return true;
}

// One at a time, with the fabric for themselves.
bool Conductor::measure_suspects() {
  std::vector<NodePair> pairs;
  for (int rail = 0; rail < fabric_.rail_count(); ++rail) {
    for (const NodePair& pair : suspects(fabric_, rail, thresholds_)) {
      if (std::ranges::count(pairs, pair) == 0) pairs.push_back(pair);
    }
  }
  const auto most = static_cast<size_t>(2 * fabric_.node_count());
  if (pairs.size() > most) pairs.resize(most);
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (!begin(fmt::format("out of line, measured again alone: {} and {} ({} of {})",
                           fabric_.nodes[static_cast<size_t>(pairs[i].first)].name,
                           fabric_.nodes[static_cast<size_t>(pairs[i].second)].name, i + 1,
                           pairs.size())) ||
        !measure_round({pairs[i]}, true)) {
      return false;
    }
  }
  return true;
}

bool Conductor::measure_round(const Round& round, bool again) {
  std::map<int, Json> commands;
  for (const NodePair& pair : round) {
    ncclUniqueId id;
    if (const auto made = check("ncclGetUniqueId", ncclGetUniqueId(&id)); !made) {
      note_missing(-1, made.error().message);
      return false;
    }
    Json command = {{"do", "pair"},
                    {"id", id_as_json(id)},
                    {"rails", common_rails(pair)},
                    {"seconds", options_.seconds},
                    {"rank", 0}};
    commands[leader(pair.first)] = command;
    command["rank"] = 1;
    commands[leader(pair.second)] = command;
  }
  const auto answers = ask(commands, pair_seconds());
  if (!answers) return false;
  for (const NodePair& pair : round) store(pair, *answers, again);
  return true;
}

// A second measurement counts when it is better: something had disturbed the first.
void Conductor::keep(PairValue& kept, const PairValue& value, bool again) const {
  const bool better = value.state == PairState::kMeasured &&
                      (kept.state != PairState::kMeasured || value.gbps > kept.gbps);
  const uint64_t wrong = kept.wrong + value.wrong;
  if (!again || better) kept = value;
  kept.wrong = wrong;
}

void Conductor::store(const NodePair& pair, const Answers& answers, bool again) {
  const int node[] = {pair.first, pair.second};
  PairSide sides[2];
  for (const int side : {0, 1}) {
    const auto answer = from_answer<PairSide>(answers.at(leader(node[side])));
    if (answer) sides[side] = *answer;
    const PairValue failed{.state = PairState::kFailed,
                           .error = answer ? std::string() : answer.error().message};
    if (!answer) sides[side] = {.rails = {}, .all_rails = failed};
    sides[side].rails.resize(fabric_.rails.size(),
                             answer ? PairValue{.state = PairState::kUnreachable,
                                                .error = "one of the two has no such rail"}
                                    : failed);
  }
  for (const int side : {0, 1}) {
    const int from = node[side];
    const int to = node[1 - side];
    const auto put = [&](Matrix& matrix, PairValue value, const PairValue& received) {
      value.wrong = received.wrong;
      keep(matrix.at(from, to), value, again);
    };
    for (size_t rail = 0; rail < fabric_.rails.size(); ++rail) {
      put(fabric_.rails[rail], sides[side].rails[rail], sides[1 - side].rails[rail]);
    }
    put(fabric_.all_rails, sides[side].all_rails, sides[1 - side].all_rails);
  }
}

// --- All at once ---------------------------------------------------------------------------------

std::optional<std::string> Conductor::join(const std::string& name, const std::vector<int>& ranks) {
  ncclUniqueId id;
  if (const auto made = check("ncclGetUniqueId", ncclGetUniqueId(&id)); !made) {
    return made.error().message;
  }
  std::map<int, Json> commands;
  for (size_t i = 0; i < ranks.size(); ++i) {
    commands[ranks[i]] = {{"do", "join"},
                          {"name", name},
                          {"id", id_as_json(id)},
                          {"rank", i},
                          {"ranks", ranks.size()}};
  }
  const auto answers = ask(commands, options_.answer_s);
  if (!answers) return "a node did not answer";
  for (const auto& [rank, answer] : *answers) {
    const auto joined = from_answer<Json>(answer);
    if (!joined) return joined.error().message;
  }
  return std::nullopt;
}

AtOnce Conductor::at_once(const std::vector<bool>& rails, int rail) {
  const Matrix& alone = rail < 0 ? fabric_.all_rails : fabric_.rails[static_cast<size_t>(rail)];
  const double usual = median(measured_gbps(alone));
  AtOnce all{.rail = rail, .alone_gbps = usual * fabric_.node_count()};
  const auto answers = ask_all({{"do", "at_once"},
                                {"name", "leaders"},
                                {"rails", rails},
                                {"seconds", kAtOnceSeconds},
                                {"gbps", usual}},
                               leaders(), 10 + 20 * kAtOnceSeconds + options_.answer_s);
  if (!answers) {
    all.left_out = "a node did not answer";
    return all;
  }
  for (const auto& [rank, answer] : *answers) {
    const auto side = from_answer<AtOnceSide>(answer);
    if (!side) {
      all.left_out = side.error().message;
      note_trouble(rank, side.error());
      return all;
    }
    all.gbps = side->gbps;
    all.wrong += side->wrong;
  }
  return all;
}

bool Conductor::measure_at_once() {
  if (!begin("all nodes at once, on each rail and on all")) return false;
  if (const auto problem = join("leaders", leaders())) {
    if (fabric_.missing.empty()) note_missing(-1, *problem);
    return false;
  }
  const auto rails = static_cast<size_t>(fabric_.rail_count());
  std::vector<bool> usable;
  for (const Matrix& matrix : fabric_.rails) usable.push_back(reaches_all(matrix));
  for (size_t rail = 0; rail < rails && fabric_.missing.empty(); ++rail) {
    const auto number = static_cast<int>(rail);
    if (!usable[rail]) {
      fabric_.at_once.push_back({.rail = number, .left_out = kNotAll});
      continue;
    }
    std::vector<bool> alone(rails, false);
    alone[rail] = true;
    fabric_.at_once.push_back(at_once(alone, number));
  }
  if (rails > 1 && fabric_.missing.empty() && std::ranges::count(usable, true) > 0) {
    fabric_.at_once.push_back(at_once(usable, -1));
  }
  if (!fabric_.missing.empty()) return false;
  return ask_all({{"do", "leave"}, {"name", "leaders"}}, leaders(), options_.answer_s).has_value();
}

// --- Collectives and drill -----------------------------------------------------------------------

double Conductor::least_gbps() const {
  const std::vector<double> gbps = measured_gbps(fabric_.all_rails);
  return gbps.empty() ? 1 : *std::ranges::min_element(gbps);
}

bool Conductor::check_collectives() {
  if (!options_.collectives && !options_.drill) return true;
  if (!begin(fmt::format("communicator of all {} ranks", world_.ranks))) return false;
  if (const auto problem = join("everyone", all_ranks())) {
    if (fabric_.missing.empty()) note_missing(-1, *problem);
    return false;
  }
  if (!options_.collectives) return true;
  const uint64_t large = bytes_for(0.03, least_gbps());
  for (const char* name : kCollectives) {
    if (!begin(fmt::format("{}, every element checked", name))) return false;
    for (const uint64_t bytes : {kSmallBytes, large}) {
      const auto answers = ask_all(
          {{"do", "collective"}, {"name", "everyone"}, {"collective", name}, {"bytes", bytes}},
          all_ranks(), 5 * options_.answer_s);
      if (!answers) return false;
      CollectiveResult sum;
      for (const auto& [rank, answer] : *answers) {
        const auto result = from_answer<CollectiveResult>(answer);
        if (!result) {
          note_trouble(rank, result.error());
          return false;
        }
        const uint64_t wrong = sum.wrong + result->wrong;
        sum = *result;
        sum.wrong = wrong;
      }
      fabric_.collectives.push_back(std::move(sum));
    }
  }
  return true;
}

// Why a rail cannot be taken away; empty: it can.
std::string Conductor::drill_obstacle(int rail) const {
  if (fabric_.rail_count() < 2) return "it is the only rail";
  for (const NodePair& pair : all_pairs(fabric_.node_count())) {
    bool other_way = fabric_.rails[0].at(pair.first, pair.second).state == PairState::kNotMeasured;
    for (int other = 0; other < fabric_.rail_count(); ++other) {
      other_way = other_way ||
                  (other != rail && both_ways_measured(fabric_.rails[static_cast<size_t>(other)],
                                                       pair.first, pair.second));
    }
    if (other_way) continue;
    return fmt::format("{} and {} have no other rail that works",
                       fabric_.nodes[static_cast<size_t>(pair.first)].name,
                       fabric_.nodes[static_cast<size_t>(pair.second)].name);
  }
  return reaches_all(fabric_.rails[static_cast<size_t>(rail)]) ? "" : kNotAll;
}

bool Conductor::drill_rails() {
  if (!options_.drill) return true;
  for (int rail = 0; rail < fabric_.rail_count(); ++rail) {
    if (const std::string obstacle = drill_obstacle(rail); !obstacle.empty()) {
      fabric_.drills.push_back({.rail = rail, .left_out = obstacle});
      continue;
    }
    if (!begin(fmt::format("failover drill: rail {} taken down and given back", rail))) {
      return false;
    }
    const auto answers = ask_all({{"do", "drill"},
                                  {"name", "everyone"},
                                  {"rail", rail},
                                  {"bytes", bytes_for(0.02, least_gbps())},
                                  {"operations", kDrillOperations}},
                                 all_ranks(), 30 + 5 * options_.answer_s);
    if (!answers) return false;
    for (const auto& [rank, answer] : *answers) {
      const auto result = from_answer<DrillResult>(answer);
      if (!result) {
        note_trouble(rank, result.error());
        return false;
      }
      if (rank == 0) fabric_.drills.push_back(*result);
    }
  }
  return ask_all({{"do", "leave"}, {"name", "everyone"}}, all_ranks(), options_.answer_s)
      .has_value();
}

}  // namespace railccl::perftest::fabric
