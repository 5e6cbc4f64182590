#include "perftest/common/table.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <iterator>

namespace railccl::perftest {
namespace {

// "1.50 MB", with more digits for smaller numbers.
std::string memory_text(int64_t bytes) {
  auto amount = static_cast<double>(bytes);
  const char* unit = "B";
  for (const char* next : {"KB", "MB", "GB"}) {
    if (std::fabs(amount) < 1024) break;
    amount /= 1024;
    unit = next;
  }
  const int digits = std::fabs(amount) < 10 ? 2 : std::fabs(amount) < 100 ? 1 : 0;
  return fmt::format("{:.{}f} {}", amount, digits, unit);
}

}  // namespace

std::string_view rail_state_text(railcclRailState_t state) {
  switch (state) {
    case railcclRailUp:
      return "up";
    case railcclRailSuspect:
      return "suspect";
    case railcclRailDown:
      return "down";
    case railcclRailProbing:
      return "probing";
    case railcclRailRejoining:
      return "rejoining";
    case railcclRailStandby:
      return "standby";
  }
  return "?";
}

std::string fixed_width(double value, int width) {
  for (const int digits : {2, 1, 0}) {
    const std::string text = fmt::format("{:{}.{}f}", value, width, digits);
    if (text.size() <= static_cast<size_t>(width)) return text;
  }
  return fmt::format("{:{}.{}e}", value, width, width >= 7 ? 1 : 0);
}

std::string table_head(const std::string& program, const Options& options, int library_version) {
  const SizeRange& sizes = options.sizes;
  const bool factor = sizes.step_factor > 1;
  std::string text = fmt::format(
      "# nccl-tests version {} nccl-headers={} nccl-library={}\n"
      "# Collective test starting: {}\n"
      "# nThread {} nGpus 1 minBytes {} maxBytes {} step: {}({}) warmup iters: {} iters: {} agg "
      "iters: {} validation: {} graph: {} unalign: {}\n",
      kFormatVersion, NCCL_VERSION_CODE, library_version, program, options.threads, sizes.min_bytes,
      sizes.max_bytes, factor ? sizes.step_factor : sizes.step_bytes, factor ? "factor" : "bytes",
      options.warmup_iterations, options.iterations, options.aggregated, options.check_iterations,
      options.graph_launches, options.unalign);
  constexpr const char* kBlocking[] = {
      "", "# Blocking Enabled: wait and barrier after each inner iteration (-m) \n",
      "# Blocking Enabled: wait after each inner iteration (-m), no barrier \n",
      "# Blocking Enabled: wait and barrier after each outer iteration (-n); time excludes "
      "barrier \n"};
  text += kBlocking[static_cast<int>(options.blocking)];
  if (options.per_iteration) {
    text += "# Per-Iteration Report: host timing; i_* uses max over process rows";
    if (options.per_iteration_skip > 0) {
      text += fmt::format("; summary skips first {} iterations", options.per_iteration_skip);
    }
    text += " \n";
  }
  if (options.parallel_init) {
    text += "# Parallel Init Enabled: threads call into NcclInitRank concurrently \n";
  }
  return text + "#\n# Using devices\n";
}

std::string device_line(const RankDevice& device) {
  return fmt::format("#  Rank {:2} Group {:2} Pid {:6} on {:>10} device {:2} [{}] {}\n",
                     device.rank, 0, device.process_id, device.host, device.device, device.bus,
                     device.name);
}

std::string column_heads(const Options& options) {
  const auto line = [&](const char* size, const char* count, const char* type, const char* op,
                        const char* root) {
    return fmt::format("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}", size, count, type, op, root);
  };
  const char* time = options.report_cpu_time ? "cputime" : "time";
  std::string names = fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", time, "algbw", "busbw", "#wrong");
  std::string units = fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", "(us)", "(GB/s)", "(GB/s)", "");
  if (options.per_iteration) {
    names += fmt::format("  {:>7}  {:>7}  {:>7}  {:>7}", "i_min", "i_max", "i_p99", "i_cv%");
    units += fmt::format("  {:>7}  {:>7}  {:>7}  {:>7}", "(us)", "(us)", "(us)", "(%)");
  }
  const char* places =
      options.per_iteration
          ? "              out-of-place (+ per-iteration)                                in-place "
            "(+ per-iteration)"
          : "           out-of-place                       in-place          ";
  const int pad = options.report_timestamps ? 19 : 0;
  return "#\n" + line("", "", "", "", "") + places + "\n" +
         line("size", "count", "type", "redop", "root") + names + names +
         fmt::format(" {:>{}}\n", options.report_timestamps ? "timestamp" : "", pad) +
         line("(B)", "(elements)", "", "", "") + units + units +
         fmt::format(" {:>{}}\n", options.report_timestamps ? "%Y-%m-%d %H:%M:%S" : "", pad);
}

std::string line_begin(const SizeResult& result) {
  return fmt::format("{:12}  {:12}  {:>8}  {:>6}  {:6}", result.bytes, result.count, result.type,
                     result.op, result.root);
}

std::string line_placement(const PlacementResult& result, const Options& options) {
  std::string text =
      fmt::format("  {:>7}  {:>6}  {:>6}", fixed_width(result.time_us, 7),
                  fixed_width(result.algorithm_bandwidth, 6), fixed_width(result.bus_bandwidth, 6));
  text += result.wrong ? fmt::format("  {:6g}", static_cast<double>(*result.wrong)) : "    N/A";
  if (options.per_iteration) {
    const std::span<const double> times(result.iteration_us);
    const auto skip = std::min(static_cast<size_t>(options.per_iteration_skip), times.size());
    const IterationStats stats = iteration_stats(times.subspan(skip));
    text += fmt::format("  {}  {}  {}  {}", fixed_width(stats.min, 7), fixed_width(stats.max, 7),
                        fixed_width(stats.p99, 7), fixed_width(stats.variation_percent(), 7));
  }
  return text;
}

std::string line_end(const Options& options, const std::string& timestamp) {
  return options.report_timestamps ? fmt::format("{:>21}\n", timestamp) : "\n";
}

std::string table_foot(const std::string& program, const Summary& summary) {
  const char* verdict = !summary.wanted_bus_bandwidth ? ""
                        : summary.bandwidth_is_fine() ? "OK"
                                                      : "FAILED";
  return fmt::format("# {:<20} : {} {}\n# {:<20} : {:g} {}\n#\n# Collective test concluded: {}\n",
                     "Out of bounds values", summary.failed_measurements,
                     summary.failed_measurements > 0 ? "FAILED" : "OK", "Avg bus bandwidth",
                     summary.mean_bus_bandwidth, verdict, program);
}

std::string memory_line(const MemoryUse& use) {
  return fmt::format(
      "# {:<20} : Initialization {} | User-Allocated {} | Collective {} | Total  {}\n",
      "Host memory usage", memory_text(use.initialization), memory_text(use.buffers),
      memory_text(use.collectives),
      memory_text(use.initialization + use.buffers + use.collectives));
}

std::string error_line(const Summary& summary) {
  return summary.error.empty() ? "\n" : fmt::format("# error: {}\n", summary.error);
}

std::string rails_table(std::span<const RankRails> ranks) {
  std::string text = fmt::format(
      "#\n# Rails\n# {:>4}  {:<16}  {:<9}  {:<9}  {:>14}  {:>7}  {:>8}  {:>8}  {:>10}  {:>9}\n",
      "rank", "rail", "transport", "state", "bytes sent", "share", "GB/s", "failures", "recoveries",
      "stall(ms)");
  bool any = false;
  for (const RankRails& rank : ranks) {
    for (const railcclRailStats_t& rail : rank.rails) {
      any = true;
      text += fmt::format("# {:4}  {:<16}  {:<9}  {:<9}  {:14}  {:6.1f}%  {}  {:8}  {:10}  {}\n",
                          rank.rank, rail.name, rail.transport,
                          rail.slow != 0 ? "slow" : rail_state_text(rail.state), rail.bytes_sent,
                          rail.share * 100, fixed_width(rail.bytes_per_second / 1e9, 8),
                          rail.failures, rail.recoveries, fixed_width(rail.stall_ms_max, 9));
    }
  }
  return any ? text : text + "#  none: all ranks share one node's memory\n";
}

std::string time_of_day() {
  const std::time_t now = std::time(nullptr);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(now));
}

}  // namespace railccl::perftest
