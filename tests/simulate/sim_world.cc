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
    auto& data = script->inputs.emplace_back();
    for (int rank = 0; rank < workload.ranks; ++rank) {
      data.push_back(input_data(workload, i, rank));
      plans.emplace_back();
      if (spec.collective == Collective::kSendRecv) continue;
      inputs.rank = rank;
      RAILCCL_ASSIGN(OperationPlan plan, make_plan(workload.call(i), inputs, spec.in_place));
      plans.back() = std::make_shared<const OperationPlan>(std::move(plan));
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
          SimOptions{.seed = options.seed, .copy_data = true, .observer = &watch_})) {
  const auto ranks = static_cast<size_t>(workload_.ranks);
  const size_t rails = workload_.rails.size();
  watch_.set_network(*network_);
  watch_.set_wake([this, rails](int rail) { awake_[static_cast<size_t>(rail) / rails] = true; });
  awake_.assign(ranks, true);
  due_.assign(ranks, 0);
  dead_.assign(ranks, false);
  frozen_until_.assign(ranks, 0);
  control_late_until_.assign(ranks, 0);
  control_.resize(ranks * ranks);
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
                     .control = this,
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
  for (const SimFault& each : rail_faults(fault, static_cast<int>(workload_.rails.size()))) {
    network_->inject(each);
  }
  const auto rank = static_cast<size_t>(fault.rank);
  const TimeNs until = fault.at + fault.lasts;
  switch (fault.kind) {
    case Fault::Kind::kRail:
    case Fault::Kind::kFlapping:
      break;
    case Fault::Kind::kPause:
      network_->schedule(fault.at, [this, rank, until] {
        frozen_until_[rank] = std::max(frozen_until_[rank], until);
      });
      network_->schedule(until, [this, rank] { awake_[rank] = true; });
      break;
    case Fault::Kind::kControlStall:
      network_->schedule(fault.at, [this, rank, until] {
        control_late_until_[rank] = std::max(control_late_until_[rank], until);
      });
      break;
    case Fault::Kind::kDeath:
      network_->schedule(fault.at, [this, rank] { dead_[rank] = true; });
      network_->schedule(until, [this, rank] { announce_death(static_cast<int>(rank)); });
      break;
    case Fault::Kind::kAbort:
      network_->schedule(fault.at, [this, rank] {
        ranks_[rank]->abort();
        awake_[rank] = true;
      });
      break;
  }
}

// The control path tells every rank, as the bootstrap does.
void SimWorld::announce_death(int rank) {
  const Status failure(Code::kPeerFailed, fmt::format("rank {} has ended", rank));
  for (int to = 0; to < workload_.ranks; ++to) {
    if (to == rank || !alive(static_cast<size_t>(to))) continue;
    ranks_[static_cast<size_t>(to)]->on_control({.kind = ControlMessage::Kind::kFailure,
                                                 .from = rank,
                                                 .to = to,
                                                 .bytes = {},
                                                 .failure = failure},
                                                now());
    awake_[static_cast<size_t>(to)] = true;
  }
}

// --- The control path ----------------------------------------------------------------------------

void SimWorld::send(ControlMessage message) {
  const auto from = static_cast<size_t>(message.from);
  const auto queue_index =
      from * static_cast<size_t>(workload_.ranks) + static_cast<size_t>(message.to);
  std::deque<InFlight>& queue = control_[queue_index];
  TimeNs at = std::max(now(), control_late_until_[from]) + workload_.control_delay +
              network_->random() % workload_.control_delay;
  if (!queue.empty()) at = std::max(at, queue.back().at);
  control_next_ = std::min(control_next_, at);
  queue.push_back({.at = at, .message = std::move(message)});
}

bool SimWorld::deliver_control() {
  if (control_next_ > now()) return false;
  bool did = false;
  // What is delivered may cause more to be sent.
  control_next_ = kNever;
  for (size_t index = 0; index < control_.size(); ++index) {
    std::deque<InFlight>& queue = control_[index];
    const size_t to = index % ranks_.size();
    while (!queue.empty() && queue.front().at <= now() && !frozen(to)) {
      const ControlMessage message = std::move(queue.front().message);
      queue.pop_front();
      if (!dead_[to]) ranks_[to]->on_control(message, now());
      awake_[to] = true;
      did = true;
    }
    if (queue.empty() || dead_[to]) continue;
    const TimeNs at = queue.front().at;
    control_next_ = std::min(control_next_, frozen(to) ? std::max(at, frozen_until_[to]) : at);
  }
  return did;
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
  TimeNs next = std::min(network_->next_event(), control_next_);
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
    while (deliver_control() | progress_ranks()) {
      if (judge_.violated()) break;
    }
    if (all_ended() || judge_.violated()) break;
    if (now() > options_.deadline || events_ > kMaxEvents) {
      judge_.violation(now(), "an operation did not end in time: {}", describe());
    }
    advance();
  }
  RunResult result{.ended_at = now()};
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
  const bool must = must_succeed(options_.faults, workload_.common_rails());
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
