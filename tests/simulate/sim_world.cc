#include "tests/simulate/sim_world.h"

#include <algorithm>
#include <utility>

namespace railccl::simulate {
namespace {

constexpr TimeNs kIdleStep = 100 * kMicrosecond;
constexpr uint64_t kMaxEvents = 20'000'000;
constexpr TimeNs kAfterwards = 2 * kMillisecond;

std::vector<NodeInfo> make_nodes(const Workload& workload) {
  std::vector<NodeInfo> nodes(static_cast<size_t>(workload.ranks));
  for (size_t rank = 0; rank < nodes.size(); ++rank) {
    nodes[rank].node_id = static_cast<uint64_t>(workload.nodes[rank]) + 1;
    nodes[rank].host = fmt::format("host{}", workload.nodes[rank]);
    for (int rail = 0; rail < workload.rails_used[rank]; ++rail) {
      const auto regular = static_cast<int>(workload.rails.size()) - workload.standby_rails;
      nodes[rank].rails.push_back(
          {.transport = rail < regular ? TransportKind::kSim : TransportKind::kTcp,
           .index = static_cast<uint8_t>(rail)});
    }
  }
  return nodes;
}

}  // namespace

Result<std::unique_ptr<Script>> make_script(uint64_t seed) {
  auto script = std::make_unique<Script>();
  script->workload = make_workload(seed);
  const Workload& workload = script->workload;
  PlanInputs inputs = workload.plan_inputs(0);
  script->layout = inputs.layout;
  script->nodes = make_nodes(workload);
  for (size_t i = 0; i < workload.operations.size(); ++i) {
    const OperationSpec& spec = workload.operations[i];
    inputs.allowed.assign(kCollectives, {});
    inputs.allowed[static_cast<size_t>(spec.collective)] = {spec.algorithm};
    auto& plans = script->plans.emplace_back();
    auto& alternatives = script->alternatives.emplace_back();
    PlanInputs other = workload.alternative_inputs(spec);
    auto& data = script->inputs.emplace_back();
    for (int rank = 0; rank < workload.ranks; ++rank) {
      data.push_back(input_data(workload, i, rank));
      plans.emplace_back();
      alternatives.emplace_back();
      if (spec.collective == Collective::kSendRecv) continue;
      inputs.rank = rank;
      RAILCCL_ASSIGN(OperationPlan plan, make_plan(workload.call(i), inputs, spec.in_place));
      plans.back() = std::make_shared<const OperationPlan>(std::move(plan));
      other.rank = rank;
      if (spec.alternative.empty()) continue;
      auto changed = make_plan(workload.call(i), other, spec.in_place);
      if (changed) alternatives.back() = std::make_shared<const OperationPlan>(std::move(*changed));
    }
    script->results.emplace_back(static_cast<size_t>(workload.ranks));
  }
  return script;
}

SimWorld::SimWorld(Script& script, const RunOptions& options)
    : script_(script),
      workload_(script.workload),
      options_(options),
      watch_(judge_),
      network_(std::make_unique<SimNetwork>(
          SimOptions{.seed = options.seed, .copy_data = true, .observer = &watch_})),
      tree_(workload_.ranks, workload_.roots, workload_.tree_arity) {
  const auto ranks = static_cast<size_t>(workload_.ranks);
  const size_t rails = workload_.rails.size();
  watch_.set_network(*network_);
  watch_.set_wake([this, rails](int rail) { awake_[static_cast<size_t>(rail) / rails] = true; });
  awake_.assign(ranks, true);
  due_.assign(ranks, 0);
  dead_.assign(ranks, false);
  frozen_until_.assign(ranks, 0);
  watch_.set_on_phase([this](Fault::Phase phase) { on_phase(phase); });
  control_net_ = std::make_unique<SimControlNet>(
      *network_,
      SimControlOptions{.ranks = workload_.ranks,
                        .delay_ns = workload_.control_delay,
                        .silence_timeout_ns = workload_.silence_timeout_ns},
      [this](int rank, TimeNs at) {
        TimeNs& due = due_[static_cast<size_t>(rank)];
        due = std::min(due, at);
      });
  defect_memory_.resize(ranks);
  make_local_domains();
  for (int rank = 0; rank < workload_.ranks; ++rank) add_rank(rank);
  for (const Fault& fault : options_.faults) inject(fault);
}

SimWorld::~SimWorld() { ranks_.clear(); }

// Of the ranks that share a node; they are settled here, before anything else happens.
void SimWorld::make_local_domains() {
  local_domains_.resize(static_cast<size_t>(workload_.ranks));
  for (const std::vector<int>& ranks : script_.layout->ranks_of) {
    if (ranks.size() > 1) make_local_domain(ranks);
  }
}

void SimWorld::make_local_domain(const std::vector<int>& ranks) {
  LocalDomainOptions options{.ranks = ranks, .scratch_bytes = local_scratch_bytes(workload_)};
  LocalSegmentName name;
  for (size_t i = 0; i < ranks.size(); ++i) {
    options.index = static_cast<int>(i);
    auto domain = i == 0 ? LocalDomain::create(options) : LocalDomain::attach(options, name);
    if (!domain) {
      judge_.violation(0, "no local domain: {}", domain.error().message());
      return;
    }
    if (i == 0) name = (*domain)->name();
    local_domains_[static_cast<size_t>(ranks[i])] = std::move(*domain);
  }
  size_t settled = 0;
  for (int round = 0; round < 1000 && settled < ranks.size(); ++round) {
    settled = 0;
    for (const int rank : ranks) {
      const auto ready = local_domains_[static_cast<size_t>(rank)]->settle();
      settled += ready && *ready ? 1 : 0;
    }
  }
  if (settled < ranks.size()) judge_.violation(0, "a local domain does not settle");
}

void SimWorld::wake_node_of(size_t rank) {
  const auto node = static_cast<size_t>(script_.layout->node_of[rank]);
  for (const int each : script_.layout->ranks_of[node]) awake_[static_cast<size_t>(each)] = true;
}

void SimWorld::add_rank(int rank) {
  const auto index = static_cast<size_t>(rank);
  SimRankParts parts{.rank = rank,
                     .script = &script_,
                     .record = options_.record,
                     .local = std::move(local_domains_[index]),
                     .watch = &watch_,
                     .judge = &judge_,
                     .observer = this,
                     .connections = control_net_->connections(rank),
                     .defect = options_.defect};
  for (size_t i = 0; i < workload_.rails.size(); ++i) {
    SimRailConfig config = workload_.rails[i];
    config.name = fmt::format("rank{}rail{}", rank, i);
    std::unique_ptr<Rail> rail = network_->add_rail(config);
    if (options_.defect != Defect::kNone) {
      rail = defect_rail(std::move(rail), {.defect = options_.defect,
                                           .network = network_.get(),
                                           .memory = &defect_memory_[index],
                                           .wake = [this, index] { awake_[index] = true; }});
    }
    parts.rails.push_back(watch_rail(std::move(rail), watch_, link_number(index, 0)));
  }
  ranks_.push_back(std::make_unique<SimRank>(std::move(parts)));
}

// --- Faults --------------------------------------------------------------------------------------

void SimWorld::inject(const Fault& fault) {
  if (fault.phase != Fault::Phase::kAny) {
    waiting_.push_back(fault);
    return;
  }
  network_->schedule(fault.at, [this, fault] { strike(fault); });
}

// The first of those that wait for it.
void SimWorld::on_phase(Fault::Phase phase) {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const Fault& fault) {
    return fault.phase == phase && fault.at <= now();
  });
  if (found == waiting_.end()) return;
  Fault fault = *found;
  waiting_.erase(found);
  fault.at = now() + fault.after;
  network_->schedule(fault.at, [this, fault] { strike(fault); });
}

bool SimWorld::in_phase(Fault::Phase phase) const {
  const auto any = [this](bool (SimRank::*is)() const) {
    return std::any_of(ranks_.begin(), ranks_.end(),
                       [is](const auto& rank) { return (rank.get()->*is)(); });
  };
  switch (phase) {
    case Fault::Phase::kAny:
      return true;
    case Fault::Phase::kInit:
      return any(&SimRank::starting);
    case Fault::Phase::kReady:
      return ready_at_ != 0 && now() <= ready_at_ + kLeastLatency;
    case Fault::Phase::kFence:
      return watch_.fencing();
    case Fault::Phase::kReplay:
      return watch_.replaying();
    case Fault::Phase::kFinalize:
      return any(&SimRank::finalizing);
  }
  return false;
}

void SimWorld::count(const Fault& fault) {
  ++result_.faults[static_cast<size_t>(fault.kind)];
  if (fault.kind == Fault::Kind::kRail) {
    ++result_.rail_faults[static_cast<size_t>(fault.rail_kind)];
  }
  for (size_t i = 0; i < result_.in_phase.size(); ++i) {
    if (in_phase(static_cast<Fault::Phase>(i))) ++result_.in_phase[i];
  }
}

// The fault begins now.
void SimWorld::strike(const Fault& fault) {
  const auto rank = static_cast<size_t>(fault.rank);
  if (dead_[rank]) return;
  count(fault);
  for (const SimFault& each : rail_faults(fault, static_cast<int>(workload_.rails.size()))) {
    network_->inject(each);
  }
  const TimeNs until = fault.at + fault.lasts;
  switch (fault.kind) {
    case Fault::Kind::kRail:
    case Fault::Kind::kFlapping:
      break;
    case Fault::Kind::kPause:
      frozen_until_[rank] = std::max(frozen_until_[rank], until);
      network_->schedule(until, [this, rank] { awake_[rank] = true; });
      break;
    case Fault::Kind::kControlStall:
      control_net_->delay(fault.rank, until);
      break;
    case Fault::Kind::kDeath:
      dead_[rank] = true;
      control_net_->end_process(fault.rank);
      break;
    case Fault::Kind::kVanish:
      dead_[rank] = true;
      control_net_->vanish(fault.rank);
      break;
    case Fault::Kind::kAbort:
      ranks_[rank]->abort();
      awake_[rank] = true;
      break;
  }
}

// --- What the ranks tell -------------------------------------------------------------------------

// A parent is told once both listen, as the roots do.
void SimWorld::on_opened(int rank) {
  const int parent = tree_.parent(rank);
  if (parent >= 0 && ranks_[static_cast<size_t>(parent)]->opened()) tell_parent_soon(rank);
  for (const int child : tree_.children(rank)) {
    if (ranks_[static_cast<size_t>(child)]->opened()) tell_parent_soon(child);
  }
}

void SimWorld::tell_parent_soon(int rank) {
  const TimeNs delay = workload_.control_delay;
  network_->schedule(now() + delay + network_->random() % delay, [this, rank] {
    if (dead_[static_cast<size_t>(rank)]) return;
    ranks_[static_cast<size_t>(rank)]->tell_parent();
    awake_[static_cast<size_t>(rank)] = true;
  });
}

// The promise of the agreement: all ranks run an operation on one picture.
void SimWorld::on_collective(int rank, uint64_t number, const RailPicture& picture) {
  ready_at_ = now();
  const auto [first, is_first] = pictures_.try_emplace(number, picture);
  result_.pictures = std::max(result_.pictures, picture.version);
  const RailPicture& other = first->second;
  if (is_first || (other.version == picture.version && other.reduced == picture.reduced &&
                   other.from_operation == picture.from_operation)) {
    return;
  }
  judge_.violation(
      now(), "rank {} runs collective {} on version {} of the rails, another one on version {}",
      rank, number, picture.version, other.version);
}

// --- The run -------------------------------------------------------------------------------------

bool SimWorld::progress_ranks() {
  bool did = false;
  const size_t first = network_->random() % ranks_.size();
  for (size_t i = 0; i < ranks_.size(); ++i) {
    const size_t rank = (first + i) % ranks_.size();
    if (frozen(rank) || (!awake_[rank] && due_[rank] > now())) continue;
    awake_[rank] = false;
    ++events_;
    if (ranks_[rank]->progress(now())) {
      wake_node_of(rank);
      did = true;
      continue;
    }
    const TimeNs due = ranks_[rank]->next_deadline(now());
    due_[rank] = due <= now() ? now() + kIdleStep : due;
  }
  return did;
}

void SimWorld::advance() {
  TimeNs next = network_->next_event();
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (dead_[rank]) continue;
    next = std::min(next, frozen(rank) ? std::max(due_[rank], frozen_until_[rank]) : due_[rank]);
  }
  if (next == kNever) {
    judge_.violation(now(), "nothing will ever happen again: {}", describe());
    return;
  }
  network_->advance_to(std::max(next, now()));
}

bool SimWorld::all_ended() const {
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (alive(rank) && !ranks_[rank]->ended()) return false;
  }
  return true;
}

RunResult SimWorld::run() {
  while (!judge_.violated()) {
    while (progress_ranks()) {
      if (judge_.violated()) break;
    }
    if (all_ended() || judge_.violated()) break;
    if (now() > options_.deadline || events_ > kMaxEvents) {
      judge_.violation(now(), "an operation did not end in time: {}", describe());
    }
    advance();
  }
  RunResult result = result_;
  result.ended_at = now();
  if (!judge_.violated()) {
    network_->advance_to(now() + kAfterwards);
    check_end();
  }
  add_up(result);
  result.violation = judge_.text();
  return result;
}

// Each chunk counted once: what a rank says to have received is what its peer has posted.
void SimWorld::check_counts() {
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    const std::vector<int> linked = ranks_[rank]->linked();
    for (size_t link = 0; link < linked.size(); ++link) {
      const uint64_t posted = watch_.bytes_posted(link_number(rank, link));
      const uint64_t received =
          ranks_[static_cast<size_t>(linked[link])]->bytes_received_from(static_cast<int>(rank));
      if (posted == received) continue;
      judge_.violation(now(), "rank {} counted {} bytes from rank {}, which has sent {}",
                       linked[link], received, rank, posted);
    }
  }
}

void SimWorld::check_end() {
  const bool whole = std::none_of(dead_.begin(), dead_.end(), [](bool dead) { return dead; }) &&
                     std::all_of(ranks_.begin(), ranks_.end(),
                                 [](const auto& rank) { return rank->error().is_ok(); });
  if (whole) check_counts();
  const bool must = must_succeed(options_.faults, workload_.tolerated());
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (!alive(rank) || ranks_[rank]->error().is_ok()) continue;
    if (must) {
      judge_.violation(now(), "rank {} ended with an error, though a rail was left: {}", rank,
                       ranks_[rank]->error().message());
    }
    if (ranks_[rank]->error().message().find("rank ") == std::string_view::npos) {
      judge_.violation(now(), "an error that names no rank: {}", ranks_[rank]->error().message());
    }
  }
}

void SimWorld::add_up(RunResult& result) const {
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (alive(rank) && result.error.is_ok()) result.error = ranks_[rank]->error();
    for (const Peers::RailReport& report : ranks_[rank]->rail_reports()) {
      result.failures += report.stats.failures;
      result.recoveries += report.stats.recoveries;
      result.replayed_bytes += report.stats.replayed_bytes;
      result.demotions += report.stats.demotions;
      result.promotions += report.stats.promotions;
    }
  }
  result.events = events_;
  result.posted_again = watch_.posted_again();
}

std::string SimWorld::describe() const {
  std::string text;
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    text +=
        "\n  " + (alive(rank) ? ranks_[rank]->describe() : fmt::format("rank {} is dead", rank));
  }
  return text;
}

}  // namespace railccl::simulate
