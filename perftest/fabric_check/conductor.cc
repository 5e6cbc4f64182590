#include "perftest/fabric_check/conductor.h"

#include <algorithm>
#include <numeric>
#include <regex>
#include <set>

#include "perftest/fabric_check/verdict.h"
#include "perftest/fabric_check/wire.h"

namespace railccl::perftest::fabric {
namespace {

// To send everyone home when one of them may not be there any more.
constexpr Seconds kFarewell{2};

Deadline after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
}

Deadline limit_of(const Options& options) {
  return options.time_limit_s > 0 ? after(options.time_limit_s) : Deadline::max();
}

// Hosts may appear more than once: virtual nodes.
void make_names_unique(std::vector<Node>& nodes) {
  std::map<std::string, int> seen;
  for (const Node& node : nodes) ++seen[node.name];
  int index = 0;
  for (Node& node : nodes) {
    if (seen[node.name] > 1) node.name += fmt::format("#{}", index);
    ++index;
  }
}

}  // namespace

Conductor::Conductor(const World& world, const Options& options, const Thresholds& thresholds,
                     Worker& worker, std::function<void(const std::string&)> say)
    : world_(world),
      options_(options),
      thresholds_(thresholds),
      worker_(worker),
      say_(std::move(say)),
      lines_(world.comm),
      began_(Clock::now()),
      until_(limit_of(options)) {}

const Fabric& Conductor::run() {
  constexpr Stage kStages[] = {&Conductor::describe,        &Conductor::read_counters_before,
                               &Conductor::measure_pairs,   &Conductor::measure_suspects,
                               &Conductor::measure_at_once, &Conductor::check_collectives,
                               &Conductor::drill_rails,     &Conductor::read_counters_after};
  for (const Stage stage : kStages) {
    if (!(this->*stage)()) break;
  }
  return fabric_;
}

void Conductor::end(int exit_code) {
  const Json command = {{"do", "end"}, {"code", exit_code}};
  for (int rank = 1; rank < world_.ranks; ++rank) {
    if (!lines_.tell(rank, command)) break;  // the world is gone: they know
  }
  static_cast<void>(lines_.collect(after(kFarewell.count()), kFarewell));
}

// --- Asking --------------------------------------------------------------------------------------

bool Conductor::begin(const std::string& stage) {
  stage_ = stage;
  if (Clock::now() >= until_) {
    note_missing(-1, fmt::format("the time limit of {:g} s was over", options_.time_limit_s));
    return false;
  }
  say_(fmt::format("[{:6.1f} s] {}", seconds_since(began_), stage));
  return true;
}

std::optional<Conductor::Answers> Conductor::ask(const std::map<int, Json>& commands,
                                                 double seconds) {
  for (const auto& [rank, command] : commands) {
    if (rank == 0) continue;
    if (const auto told = lines_.tell(rank, command); !told) {
      note_missing(node_of(rank), told.error().message);
      return std::nullopt;
    }
  }
  std::optional<Json> own;
  if (const auto mine = commands.find(0); mine != commands.end()) {
    own = worker_.carry_out(mine->second);
  }
  Lines::Answers answers = lines_.collect(std::min(after(seconds + options_.answer_s), until_),
                                          Seconds(options_.answer_s));
  note_silence(answers);
  if (own) answers.by_rank[0] = *own;
  if (!answers.silent.empty()) return std::nullopt;
  return std::move(answers.by_rank);
}

std::optional<Conductor::Answers> Conductor::ask_all(const Json& command,
                                                     const std::vector<int>& ranks,
                                                     double seconds) {
  std::map<int, Json> commands;
  for (const int rank : ranks) commands[rank] = command;
  return ask(commands, seconds);
}

// When the library says which rank is gone, the others are not to blame.
void Conductor::note_silence(const Lines::Answers& answers) {
  std::vector<int> silent = answers.silent;
  std::smatch match;
  if (std::regex_search(answers.why, match, std::regex("rank ([0-9]{1,8})"))) {
    const int named = std::stoi(match[1]);
    if (std::ranges::count(silent, named) > 0) silent = {named};
  }
  std::set<int> nodes;
  for (const int rank : silent) nodes.insert(node_of(rank));
  if (nodes.empty() || Clock::now() < until_) {
    for (const int node : nodes) note_missing(node, answers.why);
    return;
  }
  std::string names;
  for (const int node : nodes) {
    if (node >= 0) names += " " + fabric_.nodes[static_cast<size_t>(node)].name;
  }
  note_missing(-1, fmt::format("the time limit of {:g} s was over before these had answered:{}",
                               options_.time_limit_s, names));
}

void Conductor::note_missing(int node, const std::string& why) {
  fabric_.missing.push_back({.node = node, .stage = stage_, .why = why});
}

void Conductor::note_trouble(int rank, const Failure& failure) {
  const int node = node_of(rank);
  note_missing(-1, node < 0
                       ? failure.message
                       : fmt::format("{} says: {}", fabric_.nodes[static_cast<size_t>(node)].name,
                                     failure.message));
}

// --- Nodes and counters --------------------------------------------------------------------------

bool Conductor::describe() {
  if (!begin("nodes and rails")) return false;
  const Json own = worker_.carry_out({{"do", "describe"}});
  const auto mine = from_answer<Description>(own);
  if (!mine) {
    note_missing(-1, mine.error().message);
    return false;
  }
  for (const NodeRanks& node : mine->nodes) {
    fabric_.nodes.push_back({.name = node.host, .ranks = node.ranks, .rails = {}});
  }
  make_names_unique(fabric_.nodes);
  const auto answers = ask_all({{"do", "describe"}}, leaders(), options_.answer_s);
  if (!answers) return false;
  size_t rails = 0;
  for (const auto& [rank, answer] : *answers) {
    const auto description = from_answer<Description>(answer);
    if (!description) {
      note_missing(node_of(rank), description.error().message);
      return false;
    }
    Node& node = fabric_.nodes[static_cast<size_t>(node_of(rank))];
    node.rails = description->rails;
    rails = std::max(rails, node.rails.size());
  }
  fabric_.rails.assign(rails, Matrix(fabric_.nodes.size()));
  fabric_.all_rails = Matrix(fabric_.nodes.size());
  return true;
}

std::optional<std::map<std::pair<int, int>, Counters>> Conductor::read_all_counters() {
  const auto answers = ask_all({{"do", "counters"}}, leaders(), options_.answer_s);
  if (!answers) return std::nullopt;
  std::map<std::pair<int, int>, Counters> all;
  for (const auto& [rank, answer] : *answers) {
    const auto counters = from_answer<std::vector<Counters>>(answer);
    if (!counters) {
      note_missing(node_of(rank), counters.error().message);
      return std::nullopt;
    }
    for (size_t rail = 0; rail < counters->size(); ++rail) {
      all[{node_of(rank), static_cast<int>(rail)}] = (*counters)[rail];
    }
  }
  return all;
}

bool Conductor::read_counters_before() {
  stage_ = "counters";
  auto counters = read_all_counters();
  if (counters) counters_before_ = std::move(*counters);
  return counters.has_value();
}

bool Conductor::read_counters_after() {
  stage_ = "counters";
  const auto counters = read_all_counters();
  if (!counters) return false;
  for (const auto& [place, after] : *counters) {
    for (CounterChange& change : moved(place.first, place.second, counters_before_[place], after)) {
      fabric_.counters.push_back(std::move(change));
    }
  }
  return true;
}

// --- What is where -------------------------------------------------------------------------------

std::vector<int> Conductor::leaders() const {
  std::vector<int> ranks;
  for (const Node& node : fabric_.nodes) ranks.push_back(node.ranks.front());
  return ranks;
}

std::vector<int> Conductor::all_ranks() const {
  std::vector<int> ranks(static_cast<size_t>(world_.ranks));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

int Conductor::node_of(int rank) const {
  for (size_t node = 0; node < fabric_.nodes.size(); ++node) {
    if (std::ranges::count(fabric_.nodes[node].ranks, rank) > 0) return static_cast<int>(node);
  }
  return -1;
}

int Conductor::common_rails(const NodePair& pair) const {
  return static_cast<int>(std::min(fabric_.nodes[static_cast<size_t>(pair.first)].rails.size(),
                                   fabric_.nodes[static_cast<size_t>(pair.second)].rails.size()));
}

}  // namespace railccl::perftest::fabric
