#include "perftest/rail_perf/node.h"

#include <algorithm>
#include <optional>

#include "perftest/common/json_file.h"
#include "perftest/common/memory_use.h"
#include "perftest/common/table.h"
#include "perftest/rail_perf/conductor.h"
#include "perftest/rail_perf/follower.h"
#include "perftest/rail_perf/interrupt.h"
#include "perftest/rail_perf/json.h"
#include "perftest/rail_perf/meeting.h"
#include "perftest/rail_perf/table.h"
#include "src/base/setting.h"
#include "src/core/rail_plan.h"

namespace railccl::perftest::railperf {
namespace {

// What the library waits for a rail to come back (30 s) is long for one who watches.
constexpr TimeNs kLinkTimeout = 10 * kSecond;
constexpr TimeNs kPatience = 30 * kSecond;

std::string_view transport_of(const RailSummary& rail) { return transport_name(rail.transport); }

// A rank that measures.
class MeasuringNode {
 public:
  MeasuringNode(const RailPerfOptions& options, Runtime& runtime, Meeting& meeting,
                const std::array<Member, 2>& pair)
      : options_(options),
        runtime_(runtime),
        meeting_(meeting),
        pair_(pair),
        rank_(meeting.control->rank()),
        is_first_(rank_ == pair[0].rank) {}

  Outcome<Exit> run(const std::vector<std::string>& arguments);

 private:
  const NodeInfo& info(size_t node) const {
    return meeting_.ranks[static_cast<size_t>(pair_[node].rank)];
  }
  Outcome<void> plan();
  SessionOptions session_options() const;
  std::string settings_text() const;
  NodeSide own_side() const;
  Status exchange_sides(Session& session);
  void find_unpaired();
  Outcome<void> check_names() const;
  Outcome<Exit> conduct(Session& session, std::optional<JsonFile>& json,
                        const std::vector<std::string>& arguments);
  Exit exit_code() const;

  const RailPerfOptions& options_;
  Runtime& runtime_;
  Meeting& meeting_;
  std::array<Member, 2> pair_;
  int rank_;
  bool is_first_;
  std::vector<LinkOptions::Pair> pairs_;
  Report report_;
};

Outcome<void> MeasuringNode::plan() {
  const size_t self = is_first_ ? 0 : 1;
  const std::vector<RailSummary>& mine = info(self).rails;
  const std::vector<RailSummary>& theirs = info(1 - self).rails;
  pairs_ = plan_pairs(mine, theirs, runtime_.comm_options().peers.cross);
  if (!pairs_.empty()) return {};
  return failure(Exit::kLibrary,
                 "no rail in common: {}; look at RAILCCL_TRANSPORT, RAILCCL_RAILS and "
                 "RAILCCL_SOCKET_IFNAME on both hosts",
                 explain_no_pair(pair_[self].rank, mine, pair_[1 - self].rank, theirs));
}

SessionOptions MeasuringNode::session_options() const {
  const CommOptions& comm = runtime_.comm_options();
  SessionOptions options{.peer = is_first_ ? pair_[1].rank : pair_[0].rank,
                         .link = comm.peers.link,
                         .spin_ns = caller_spin_ns(comm, false),
                         .patience = kPatience};
  options.link.self = rank_;
  options.link.peer = options.peer;
  if (!runtime_.settings().is_set(Setting::kLinkTimeoutS)) {
    options.link.link_timeout_ns = std::min(options.link.link_timeout_ns, kLinkTimeout);
  }
  options.patience = std::max(options.patience, 3 * options.link.link_timeout_ns);
  return options;
}

std::string MeasuringNode::settings_text() const {
  const Settings& settings = runtime_.settings();
  return fmt::format("transport {}, poll {}, striping {}, check {}",
                     settings.value(Setting::kTransport).text, settings.value(Setting::kPoll).text,
                     settings.value(Setting::kStriping).text,
                     settings.get_bool(Setting::kCheck) ? "on" : "off");
}

NodeSide MeasuringNode::own_side() const {
  NodeSide side{.host = info(is_first_ ? 0 : 1).host, .rails = {}};
  for (const Rail* rail : runtime_.engine()->rails()) {
    const RailInfo& info = rail->info();
    side.rails.push_back({.name = info.name,
                          .transport = std::string(transport_name(info.transport)),
                          .address = info.address,
                          .bytes_per_second = info.bytes_per_second});
  }
  return side;
}

Status MeasuringNode::exchange_sides(Session& session) {
  const size_t self = is_first_ ? 0 : 1;
  report_.nodes[self] = own_side();
  RAILCCL_TRY(session.send(encode(report_.nodes[self])));
  RAILCCL_ASSIGN(const Incoming incoming, session.receive());
  if (incoming.kind != Kind::kHello) {
    return error(Code::kPeerFailed, "rank {} did not say which rails it has", pair_[1 - self].rank);
  }
  RAILCCL_ASSIGN(report_.nodes[1 - self], decode_hello(incoming.body));
  for (size_t i = 0; i < pair_.size(); ++i) {
    report_.nodes[i].node = pair_[i].node;
    report_.nodes[i].rank = pair_[i].rank;
    for (const RailSummary& rail : info(i).rails) {
      if (rail.index < report_.nodes[i].rails.size()) continue;
      return error(Code::kPeerFailed, "rank {} has named {} rails and spoken of a {} rail {}",
                   pair_[i].rank, report_.nodes[i].rails.size(), transport_of(rail), rail.index);
    }
  }
  return Status::ok();
}

// A port that was down at the start is not there at all on its side; its partner is left over.
void MeasuringNode::find_unpaired() {
  if (!options_.rails.names.empty()) return;
  for (size_t node = 0; node < report_.nodes.size(); ++node) {
    for (size_t rail = 0; rail < report_.nodes[node].rails.size(); ++rail) {
      const bool paired = std::ranges::any_of(report_.pairs, [&](const RailPair& pair) {
        return static_cast<size_t>(node == 0 ? pair.first : pair.second) == rail;
      });
      if (paired) continue;
      const RailSide& side = report_.nodes[node].rails[rail];
      report_.unpaired.push_back(
          fmt::format("node {} ({}): {} {}: node {} has no {} rail for it; is a port down there?",
                      report_.nodes[node].node, report_.nodes[node].host, side.name, side.address,
                      report_.nodes[1 - node].node, side.transport));
    }
  }
}

Outcome<void> MeasuringNode::check_names() const {
  for (const std::string& name : options_.rails.names) {
    std::vector<std::string> known;
    for (const RailPair& pair : report_.pairs) {
      known.push_back(report_.nodes[0].rails[static_cast<size_t>(pair.first)].name);
      known.push_back(report_.nodes[1].rails[static_cast<size_t>(pair.second)].name);
    }
    if (std::ranges::count(known, name) > 0) continue;
    std::ranges::sort(known);
    known.erase(std::ranges::unique(known).begin(), known.end());
    return failure(Exit::kUsage, "-x: there is no rail '{}' that both nodes share; there are: {}",
                   name, fmt::join(known, ", "));
  }
  return {};
}

Outcome<Exit> MeasuringNode::run(const std::vector<std::string>& arguments) {
  std::optional<JsonFile> json;
  if (is_first_ && !options_.json_file.empty()) {
    auto made = JsonFile::create(options_.json_file);
    if (!made) return tl::unexpected(made.error());
    json = std::move(*made);
  }
  PERFTEST_TRY(plan());
  Session session(session_options(), runtime_.engine(), std::move(meeting_.control));
  if (const Status sides = exchange_sides(session); !sides) {
    session.fail(sides);
    return library_failure(sides);
  }
  if (is_first_) return conduct(session, json, arguments);
  const Status followed = Follower(session, pairs_).run();
  if (followed) return Exit::kSuccess;
  session.fail(followed);
  return library_failure(followed);
}

Outcome<Exit> MeasuringNode::conduct(Session& session, std::optional<JsonFile>& json,
                                     const std::vector<std::string>& arguments) {
  for (const LinkOptions::Pair& pair : pairs_) {
    report_.pairs.push_back({.first = pair.local_rail, .second = pair.peer_rail});
  }
  report_.other_ranks = static_cast<int>(meeting_.ranks.size()) - 2;
  report_.settings = settings_text();
  find_unpaired();
  if (const auto known = check_names(); !known) {
    session.fail(Status(Code::kInvalidUsage, known.error().message));
    return tl::unexpected(known.error());
  }
  if (json) fmt::print("# Writing JSON output to {}\n", json->path());
  const uint64_t eager_bytes = runtime_.comm_options().eager_bytes;
  const Status status = Conductor(options_, session, pairs_, report_, eager_bytes, stdout).run();
  if (!status) {
    report_.error = status.message();
    session.fail(status);
  }
  fmt::print("{}", foot(report_));
  std::fflush(stdout);
  if (json) {
    auto whole = document(report_, options_);
    whole["args"] = arguments;
    whole["env"] = environment_json();
    whole["end_time"] = time_of_day();
    PERFTEST_TRY(json->write(whole));
  }
  if (!status) return library_failure(status);
  return exit_code();
}

Exit MeasuringNode::exit_code() const {
  if (report_.any_wrong()) return Exit::kWrong;
  return report_.any_failed() ? Exit::kLibrary : Exit::kSuccess;
}

// A rank beside those that measure.
Outcome<Exit> wait_for_the_others(Runtime& runtime, Meeting& meeting) {
  Session session({.spin_ns = 0}, runtime.engine(), std::move(meeting.control));
  const Status ended = session.await_end();
  if (!ended) return library_failure(ended);
  return Exit::kSuccess;
}

// --rate alone must have something to measure.
Outcome<void> check_rate_sizes(const RailPerfOptions& options, uint64_t eager_bytes) {
  const Measurements& measure = options.measure;
  const bool only = !measure.bandwidth && !measure.bidirectional && !measure.latency;
  if (!only || options.sizes.min_bytes <= eager_bytes) return {};
  return failure(Exit::kUsage,
                 "--rate is of what collectives send as messages, up to {} bytes "
                 "(RAILCCL_EAGER_BYTES); -b {} leaves nothing to measure",
                 eager_bytes, options.sizes.min_bytes);
}

Outcome<Exit> run(const RailPerfOptions& options, const std::vector<std::string>& arguments) {
  const double needed = 2.0 * static_cast<double>(area_bytes(options));
  if (needed > static_cast<double>(machine_bytes())) {
    return failure(Exit::kUsage, "-e {} needs {:.1f} GB for buffers, this machine has {:.1f} GB",
                   options.sizes.max_bytes, needed / 1e9,
                   static_cast<double>(machine_bytes()) / 1e9);
  }
  const auto runtime = Runtime::get();
  if (!runtime) return library_failure(runtime.error());
  PERFTEST_TRY(check_rate_sizes(options, (*runtime)->comm_options().eager_bytes));
  auto meeting = meet(**runtime);
  if (!meeting) return tl::unexpected(meeting.error());
  const auto pair = choose_pair(meeting->ranks, meeting->node_of, options.pair);
  if (!pair) return tl::unexpected(pair.error());
  const int rank = meeting->control->rank();
  if (rank != (*pair)[0].rank && rank != (*pair)[1].rank) {
    return wait_for_the_others(**runtime, *meeting);
  }
  return MeasuringNode(options, **runtime, *meeting, *pair).run(arguments);
}

}  // namespace

int run_node(const RailPerfOptions& options, const std::vector<std::string>& arguments) {
  watch_for_interrupts();
  const auto exit = run(options, arguments);
  if (!exit) fmt::print(stderr, "rail_perf: {}\n", exit.error().message);
  if (interrupted()) return 128 + interrupt_signal();
  return static_cast<int>(exit ? *exit : exit.error().exit);
}

}  // namespace railccl::perftest::railperf
