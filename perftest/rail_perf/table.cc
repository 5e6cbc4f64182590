#include "perftest/rail_perf/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>

#include "perftest/common/table.h"

namespace railccl::perftest::railperf {
namespace {

constexpr double kMega = 1e6;
constexpr double kGigabit = 1e9 / 8;

std::string speed_text(uint64_t bytes_per_second) {
  if (bytes_per_second == 0) return "unknown";
  return fmt::format("{} Mbit/s", bytes_per_second / 125000);
}

const RailSide& rail_of(const Report& report, size_t node, size_t pair) {
  const RailPair& rails = report.pairs[pair];
  const auto index = static_cast<size_t>(node == 0 ? rails.first : rails.second);
  return report.nodes[node].rails[index];
}

// "eth0 - eth0", or one name where both are equal.
std::string pair_name(const Report& report, size_t pair) {
  const std::string& first = rail_of(report, 0, pair).name;
  const std::string& second = rail_of(report, 1, pair).name;
  return first == second ? first : fmt::format("{} - {}", first, second);
}

std::string_view state_of(const Report& report, size_t pair) {
  for (const LinkResult& link : report.links) {
    for (size_t i = 0; i < link.pairs.size(); ++i) {
      if (link.pairs[i] == pair && i < link.rails.size()) return link.rails[i].state;
    }
  }
  return "not asked for";
}

std::string megabytes(double bytes_per_second) { return fixed_width(bytes_per_second / kMega, 10); }

std::string gigabits(double bytes_per_second) {
  return fixed_width(bytes_per_second / kGigabit, 8);
}

std::string rail_line(const Report& report, size_t pair) {
  const RailSide& first = rail_of(report, 0, pair);
  const RailSide& second = rail_of(report, 1, pair);
  const auto side = [](const RailSide& rail) {
    return fmt::format("{} {}", rail.name, rail.address);
  };
  std::string speed = speed_text(first.bytes_per_second);
  if (second.bytes_per_second != first.bytes_per_second) {
    speed += " - " + speed_text(second.bytes_per_second);
  }
  return fmt::format("# {:>4}  {:<34} {:<34} {:<9} {:<13} {}\n", pair, side(first), side(second),
                     first.transport, speed, state_of(report, pair));
}

}  // namespace

std::string head(const Report& report, const RailPerfOptions& options) {
  const auto& [first, second] = report.nodes;
  std::string text =
      fmt::format("# rail_perf: node {} ({}, rank {}) and node {} ({}, rank {})", first.node,
                  first.host, first.rank, second.node, second.host, second.rank);
  text +=
      report.other_ranks > 0 ? fmt::format("; {} other ranks wait\n", report.other_ranks) : "\n";
  text += fmt::format("# {}\n", report.settings);
  text += options.iterations > 0 ? fmt::format("# {} puts per size", options.iterations)
                                 : fmt::format("# {} s per size and measurement", options.seconds);
  text += fmt::format(", after at most {} to warm up; MB are 10^6 bytes\n#\n", options.warmup);
  text += fmt::format("# {:>4}  {:<34} {:<34} {:<9} {:<13} {}\n", "rail",
                      fmt::format("node {}", first.node), fmt::format("node {}", second.node),
                      "transport", "speed", "state");
  for (size_t pair = 0; pair < report.pairs.size(); ++pair) text += rail_line(report, pair);
  for (const std::string& rail : report.unpaired) text += fmt::format("# {}\n", rail);
  return text;
}

std::string link_head(const Report& report, const LinkResult& link) {
  std::vector<std::string> names;
  for (const size_t pair : link.pairs) names.push_back(pair_name(report, pair));
  return fmt::format("#\n# {}: {} ({})\n", link.name, fmt::join(names, ", "),
                     rail_of(report, 0, link.pairs.front()).transport);
}

std::string check_line(const CheckResult& check) {
  if (check.wrong == 0) return fmt::format("# {} bytes compared, none wrong\n", check.bytes);
  return fmt::format("# {} bytes compared, {} WRONG: {}\n", check.bytes, check.wrong,
                     check.first_mistake);
}

std::string bandwidth_head(const Report& report, const LinkResult& link,
                           const Measurements& measure) {
  std::string names = fmt::format("# {:>9}", "bytes");
  std::string units = fmt::format("# {:>9}", "");
  const auto add = [&](const char* name, const char* unit, int width) {
    names += fmt::format("  {:>{}}", name, width);
    units += fmt::format("  {:>{}}", unit, width);
  };
  if (measure.bandwidth) {
    add("iterations", "", 10);
    add("BW peak", "(MB/s)", 10);
    add("BW average", "(MB/s)", 10);
    add("average", "(Gbit/s)", 8);
    add("MsgRate", "(Mpps)", 9);
  }
  if (measure.bidirectional) {
    add("both ways", "(MB/s)", 10);
    add("both", "(Gbit/s)", 8);
    add("->", "(MB/s)", 10);
    add("<-", "(MB/s)", 10);
  }
  if (measure.bandwidth && link.together()) {
    for (const size_t pair : link.pairs) add(pair_name(report, pair).c_str(), "(share)", 8);
  }
  return names + "\n" + units + "\n";
}

std::string bandwidth_line(const BandwidthResult& result, const LinkResult& link,
                           const Measurements& measure) {
  std::string text = fmt::format("  {:>9}", result.bytes);
  if (measure.bandwidth && result.one_way) {
    const Stream& way = *result.one_way;
    text += fmt::format("  {:>10}  {}  {}  {}  {:9.6f}", way.puts,
                        megabytes(way.peak_bytes_per_second()), megabytes(way.bytes_per_second()),
                        gigabits(way.bytes_per_second()), way.puts_per_second() / kMega);
  }
  if (measure.bidirectional && result.both_ways) {
    const auto& [out, in] = *result.both_ways;
    const double both = result.both_ways_bytes_per_second();
    text += fmt::format("  {}  {}  {}  {}", megabytes(both), gigabits(both),
                        megabytes(out.bytes_per_second()), megabytes(in.bytes_per_second()));
  }
  if (measure.bandwidth && link.together()) {
    const double sum = static_cast<double>(
        std::accumulate(result.rail_bytes.begin(), result.rail_bytes.end(), uint64_t{0}));
    for (const uint64_t bytes : result.rail_bytes) {
      text += fmt::format("  {:7.1f}%", sum > 0 ? static_cast<double>(bytes) / sum * 100 : 0.0);
    }
  }
  return text + "\n";
}

std::string latency_head() {
  std::string names = fmt::format("# {:>9}  {:>10}", "bytes", "iterations");
  for (const char* name : {"t_min", "t_typical", "t_avg", "t_stdev", "99%", "99.9%", "t_max"}) {
    names += fmt::format("  {:>9}", name);
  }
  return names + "   (half round trip, us)\n";
}

std::string latency_line(const LatencyResult& result) {
  const IterationStats& times = result.half_us;
  std::string text = fmt::format("  {:>9}  {:>10}", result.bytes, result.round_trips);
  for (const double time :
       {times.min, times.p50, times.mean, times.stdev, times.p99, times.p999, times.max}) {
    text += "  " + fixed_width(time, 9);
  }
  return text + "\n";
}

std::string rate_head() {
  return fmt::format(
      "# {:>9}  {:>11}  {:>10}  {:>9}  {:>10}  {:>9}\n# {:>9}  {:>11}  {:>10}  "
      "{:>9}  {:>10}  {:>9}\n",
      "bytes", "outstanding", "puts", "rate", "messages", "rate", "", "", "", "(Mpps)", "",
      "(Mpps)");
}

std::string rate_line(const RateResult& result) {
  return fmt::format("  {:>9}  {:>11}  {:>10}  {:9.6f}  {:>10}  {:9.6f}\n", result.bytes,
                     result.window, result.puts.puts, result.puts.puts_per_second() / kMega,
                     result.messages, result.messages_per_second() / kMega);
}

std::string incidents(const Report& report, const LinkResult& link) {
  std::string text;
  for (size_t i = 0; i < link.rails.size(); ++i) {
    const LinkRail& rail = link.rails[i];
    if (rail.failures == 0) continue;
    text += fmt::format("# {} in {}: {}; failures {}, recoveries {}, {} bytes sent again; {}\n",
                        pair_name(report, link.pairs[i]), link.name, rail.state, rail.failures,
                        rail.recoveries, rail.replayed_bytes, rail.last_error);
  }
  return text;
}

std::string foot(const Report& report) {
  std::string text = "#\n";
  for (const std::string& rail : report.unpaired) text += fmt::format("# FAILED: {}\n", rail);
  for (const LinkResult& link : report.links) {
    if (!link.error.empty()) text += fmt::format("# FAILED: {}: {}\n", link.name, link.error);
    if (link.check.wrong > 0) {
      text += fmt::format("# FAILED: {}: {} wrong bytes\n", link.name, link.check.wrong);
    }
  }
  if (!report.error.empty()) text += fmt::format("# FAILED: {}\n", report.error);
  return text == "#\n" ? "#\n# OK\n" : text;
}

}  // namespace railccl::perftest::railperf
