#include "perftest/rail_perf/conductor.h"

#include <fmt/format.h>

#include <numeric>

#include "perftest/rail_perf/content.h"
#include "perftest/rail_perf/table.h"
#include "transport/rail_health.h"

namespace railccl::perftest::railperf {
namespace {

uint64_t seed_of(uint32_t link, uint64_t bytes, bool back) {
  return static_cast<uint64_t>(link) << 48 ^ bytes << 1 ^ static_cast<uint64_t>(back);
}

void add(CheckResult& check, const Order& order, uint64_t wrong, const std::string& first_mistake,
         std::string_view where) {
  check.bytes += order.bytes * order.window;
  if (check.wrong == 0 && wrong > 0) {
    check.first_mistake = fmt::format("{}, {}", where, first_mistake);
  }
  check.wrong += wrong;
}

bool is_fatal(const Status& status, const Status& link) {
  return !status && link.is_ok() && status.code() != Code::kRailFailed;
}

// Some of the puts did not come, or came twice.
Status check_count(uint64_t puts, const Order& order) {
  if (puts == order.window) return Status::ok();
  return error(Code::kRailFailed, "{} notifications came for {} puts of {} bytes", puts,
               order.window, order.bytes);
}

}  // namespace

Conductor::Conductor(const RailPerfOptions& options, Session& session,
                     std::vector<LinkOptions::Pair> pairs, Report& report, uint64_t eager_bytes,
                     std::FILE* out)
    : options_(options),
      session_(session),
      pairs_(std::move(pairs)),
      report_(report),
      eager_bytes_(eager_bytes),
      out_(out) {}

Status Conductor::run() {
  RAILCCL_TRY(prepare());
  for (uint32_t link = 0; link < report_.links.size(); ++link) RAILCCL_TRY(connect(link));
  show(head(report_, options_));
  for (uint32_t link = 0; link < report_.links.size(); ++link) {
    LinkResult& result = report_.links[link];
    show(link_head(report_, result));
    const Status measured = result.connected ? measure(link) : Status::ok();
    note_rails(link);
    RAILCCL_TRY(session_.error());
    // Not the link's fault: what the two nodes say to each other has lost its order.
    if (is_fatal(measured, session_.link_status(link))) return measured;
    if (!measured) result.error = measured.message();
    if (result.error.empty() && !result.measured()) {
      result.error = "nothing was measured, and nothing has failed: a bug of rail_perf";
    }
    if (!result.error.empty()) show(fmt::format("# NOT MEASURED: {}\n", result.error));
    show(incidents(report_, result));
  }
  RAILCCL_TRY(tell(order(Task::kEnd, 0, 0)));
  session_.close_links();
  return Status::ok();
}

// --- Links ---------------------------------------------------------------------------------------

std::vector<std::vector<size_t>> Conductor::plan_links() const {
  const RailChoice& choice = options_.rails;
  const auto is_chosen = [&](const RailPair& pair) {
    if (choice.names.empty()) return true;
    for (const std::string& name : choice.names) {
      if (report_.nodes[0].rails[static_cast<size_t>(pair.first)].name == name) return true;
      if (report_.nodes[1].rails[static_cast<size_t>(pair.second)].name == name) return true;
    }
    return false;
  };
  std::vector<size_t> chosen;
  for (size_t i = 0; i < report_.pairs.size(); ++i) {
    if (is_chosen(report_.pairs[i])) chosen.push_back(i);
  }
  std::vector<std::vector<size_t>> links;
  for (const size_t pair : chosen) {
    if (choice.each) links.push_back({pair});
  }
  const bool adds = chosen.size() > 1 || !choice.each;
  if (choice.together && adds && !chosen.empty()) links.push_back(chosen);
  return links;
}

Status Conductor::prepare() {
  Order prepare = order(Task::kPrepare, 0, 0);
  prepare.bytes = area_bytes(options_);
  RAILCCL_TRY(session_.make_buffers(prepare.bytes));
  for (const std::vector<size_t>& link : plan_links()) {
    std::vector<LinkOptions::Pair> rails;
    uint32_t bits = 0;
    for (const size_t pair : link) {
      rails.push_back(pairs_[pair]);
      bits |= uint32_t{1} << pair;
    }
    RAILCCL_TRY(session_.open_link(rails));
    prepare.links.push_back(bits);
    report_.links.push_back({.name = link.size() == 1
                                         ? fmt::format("rail {}", link.front())
                                         : fmt::format("{} rails together", link.size()),
                             .pairs = link});
  }
  RAILCCL_TRY(tell(prepare));
  return session_.offer_links();
}

// A link that does not connect is reported, and nothing is measured over it.
Status Conductor::connect(uint32_t link) {
  const Status here = session_.await_connected(link);
  RAILCCL_TRY(session_.error());
  if (is_fatal(here, session_.link_status(link))) return here;
  LinkResult& result = report_.links[link];
  if (!here) {
    result.error = here.message();
  } else {
    const Result<Answer> there = ask(order(Task::kState, link, 0));
    RAILCCL_TRY(session_.error());
    if (!there) result.error = there.error().message();
  }
  result.connected = result.error.empty();
  note_rails(link);
  return Status::ok();
}

void Conductor::note_rails(uint32_t link) {
  LinkResult& result = report_.links[link];
  result.rails.clear();
  for (const LinkRailStats& stats : session_.stats(link)) {
    result.rails.push_back({.state = std::string(rail_state_name(stats.state)),
                            .bytes_sent = stats.bytes_sent,
                            .failures = stats.failures,
                            .recoveries = stats.recoveries,
                            .replayed_bytes = stats.replayed_bytes,
                            .last_error = stats.last_error});
  }
}

Status Conductor::measure(uint32_t link) {
  for (const uint64_t bytes : size_sequence(options_.sizes)) RAILCCL_TRY(check(link, bytes));
  show(check_line(report_.links[link].check));
  if (options_.measure.bandwidth || options_.measure.bidirectional) {
    RAILCCL_TRY(measure_bandwidth(link));
  }
  if (options_.measure.latency) RAILCCL_TRY(measure_latency(link));
  if (options_.measure.rate) RAILCCL_TRY(measure_rate(link));
  return Status::ok();
}

Status Conductor::measure_bandwidth(uint32_t link) {
  LinkResult& result = report_.links[link];
  show(bandwidth_head(report_, result, options_.measure));
  for (const uint64_t bytes : size_sequence(options_.sizes)) {
    RAILCCL_ASSIGN(auto measured, bandwidth(link, bytes));
    result.bandwidth.push_back(std::move(measured));
    show(bandwidth_line(result.bandwidth.back(), result, options_.measure));
  }
  return Status::ok();
}

Status Conductor::measure_latency(uint32_t link) {
  show(latency_head());
  for (const uint64_t bytes : size_sequence(options_.sizes)) {
    RAILCCL_ASSIGN(const auto measured, latency(link, bytes));
    report_.links[link].latency.push_back(measured);
    show(latency_line(measured));
  }
  return Status::ok();
}

Status Conductor::measure_rate(uint32_t link) {
  if (options_.sizes.min_bytes > eager_bytes_) return Status::ok();
  show(rate_head());
  for (const uint64_t bytes : size_sequence(options_.sizes)) {
    if (bytes > eager_bytes_) break;
    RAILCCL_ASSIGN(const auto measured, rate(link, bytes));
    report_.links[link].rate.push_back(measured);
    show(rate_line(measured));
  }
  return Status::ok();
}

// --- Checks --------------------------------------------------------------------------------------

Status Conductor::check(uint32_t link, uint64_t bytes) {
  CheckResult& check = report_.links[link].check;
  Order order = this->order(Task::kExpect, link, bytes);
  order.seed = seed_of(link, bytes, false);
  RAILCCL_TRY(check_there(order, check));
  order.seed = seed_of(link, bytes, true);
  return check_here(order, check);
}

Status Conductor::check_there(const Order& order, CheckResult& check) {
  RAILCCL_TRY(tell(order));
  fill(session_.send_area(), order.content());
  Stream unused;
  RAILCCL_TRY(stream(order.link, order.bytes, {.iterations = order.window}, unused));
  Order compare = order;
  compare.task = Task::kCompare;
  RAILCCL_ASSIGN(const Answer answer, ask(compare));
  add(check, order, answer.wrong, answer.first_mistake, report_.nodes[1].host);
  return check_count(answer.puts, order);
}

Status Conductor::check_here(const Order& order, CheckResult& check) {
  fill_wrong(session_.receive_area(), order.content());
  fill_guard(session_.guard());
  Receiver receiver;
  session_.begin(order.link, receiver);
  Order fill = order;
  fill.task = Task::kFill;
  const Result<Answer> filled = ask(fill);
  session_.end_activity();
  if (!filled) return filled.error();
  const Comparison found = compare(session_.receive_area(), order.content());
  const Comparison beyond = compare_guard(session_.guard());
  add(check, order, found.wrong + beyond.wrong,
      found.wrong > 0 ? found.first_mistake : beyond.first_mistake, report_.nodes[0].host);
  return check_count(receiver.puts(), order);
}

// --- Measurements --------------------------------------------------------------------------------

Result<BandwidthResult> Conductor::bandwidth(uint32_t link, uint64_t bytes) {
  BandwidthResult result{.bytes = bytes, .one_way = {}, .both_ways = {}, .rail_bytes = {}};
  Order both = order(Task::kReceive, link, bytes);
  RAILCCL_TRY(tell(both));
  Stream warm;
  if (options_.warmup > 0) RAILCCL_TRY(stream(link, bytes, warmup(), warm));
  if (options_.measure.bandwidth) {
    RAILCCL_ASSIGN(result.one_way, one_way(link, bytes, result.rail_bytes));
  }
  if (!options_.measure.bidirectional) return result;
  both.task = Task::kStream;
  if (options_.warmup > 0) {
    both.iterations = warmup().iterations;
    both.time_ns = warmup().time_ns;
    const auto warm_ways = both_ways(both);
    if (!warm_ways) return Error(warm_ways.error());
  }
  both.iterations = length().iterations;
  both.time_ns = length().time_ns;
  RAILCCL_ASSIGN(result.both_ways, both_ways(both));
  return result;
}

Result<Stream> Conductor::one_way(uint32_t link, uint64_t bytes,
                                  std::vector<uint64_t>& rail_bytes) {
  const std::vector<LinkRailStats> before = session_.stats(link);
  Stream result;
  RAILCCL_TRY(stream(link, bytes, length(), result));
  const std::vector<LinkRailStats> after = session_.stats(link);
  for (size_t i = 0; i < after.size(); ++i) {
    rail_bytes.push_back(after[i].bytes_sent - before[i].bytes_sent);
  }
  return result;
}

Result<std::array<Stream, 2>> Conductor::both_ways(const Order& order) {
  std::array<Stream, 2> streams;
  RAILCCL_TRY(session_.send(encode(order)));
  const Length length{.iterations = order.iterations, .time_ns = order.time_ns};
  const Status here = stream(order.link, order.bytes, length, streams[0]);
  // What the other one still sends is received as an operation would.
  Receiver receiver;
  session_.begin(order.link, receiver);
  const Result<Answer> there = await_answer(order.task);
  session_.end_activity();
  RAILCCL_TRY(here);
  if (!there) return Error(there.error());
  streams[1] = {.bytes_per_put = order.bytes,
                .puts = there->puts,
                .seconds = static_cast<double>(there->elapsed_ns) / 1e9,
                .peak_puts_per_second = there->peak_puts_per_second};
  return streams;
}

Result<LatencyResult> Conductor::latency(uint32_t link, uint64_t bytes) {
  RAILCCL_TRY(tell(order(Task::kReturn, link, bytes)));
  const Slots slots = session_.slots(link, bytes, 1);
  if (options_.warmup > 0) {
    Pinger pinger(slots, warmup(), round_trips_);
    RAILCCL_TRY(session_.run(link, pinger));
  }
  Pinger pinger(slots, length(), round_trips_);
  RAILCCL_TRY(session_.run(link, pinger));
  return LatencyResult{
      .bytes = bytes, .round_trips = round_trips_.count(), .half_us = round_trips_.half()};
}

Result<RateResult> Conductor::rate(uint32_t link, uint64_t bytes) {
  RateResult result{.bytes = bytes, .window = window_of(options_, bytes), .puts = {}};
  RAILCCL_TRY(tell(order(Task::kReceive, link, bytes)));
  Stream warm;
  if (options_.warmup > 0) RAILCCL_TRY(stream(link, bytes, warmup(), warm));
  RAILCCL_TRY(stream(link, bytes, length(), result.puts));
  MessageStream messages(bytes, length());
  RAILCCL_TRY(session_.run(link, messages));
  result.messages = messages.messages();
  result.message_seconds = messages.seconds();
  return result;
}

Status Conductor::stream(uint32_t link, uint64_t bytes, const Length& length, Stream& result) {
  PutStream puts(session_.slots(link, bytes, window_of(options_, bytes)), length, put_times_);
  RAILCCL_TRY(session_.run(link, puts));
  result = puts.result();
  return Status::ok();
}

// --- The other node ------------------------------------------------------------------------------

Result<Answer> Conductor::ask(const Order& order) {
  RAILCCL_TRY(session_.send(encode(order)));
  return await_answer(order.task);
}

Status Conductor::tell(const Order& order) {
  const Result<Answer> answer = ask(order);
  return answer ? Status::ok() : answer.error();
}

Result<Answer> Conductor::await_answer(Task task) {
  RAILCCL_ASSIGN(const Incoming incoming, session_.receive());
  if (incoming.kind != Kind::kReport) {
    return error(Code::kPeerFailed, "a message of kind {} in place of a report",
                 static_cast<int>(incoming.kind));
  }
  RAILCCL_ASSIGN(Answer answer, decode_answer(incoming.body));
  if (answer.task != task) {
    return error(Code::kPeerFailed, "a report on task {} in place of {}",
                 static_cast<int>(answer.task), static_cast<int>(task));
  }
  if (!answer.error.empty()) {
    return error(Code::kRailFailed, "{} says: {}", report_.nodes[1].host, answer.error);
  }
  return answer;
}

Length Conductor::length() const {
  if (options_.iterations > 0) return {.iterations = options_.iterations};
  return {.time_ns = static_cast<TimeNs>(options_.seconds * static_cast<double>(kSecond))};
}

Length Conductor::warmup() const {
  return {.iterations = options_.warmup, .time_ns = length().time_ns / 4};
}

Order Conductor::order(Task task, uint32_t link, uint64_t bytes) const {
  return {.task = task,
          .link = link,
          .bytes = bytes,
          .window = bytes > 0 ? window_of(options_, bytes) : 0,
          .links = {}};
}

void Conductor::show(const std::string& text) {
  fmt::print(out_, "{}", text);
  std::fflush(out_);
}

}  // namespace railccl::perftest::railperf
