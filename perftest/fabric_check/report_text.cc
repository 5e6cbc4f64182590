#include "perftest/fabric_check/report_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace railccl::perftest::fabric {
namespace {

constexpr int kMostInMatrix = 16;

std::string cell(const PairValue& value, bool bad) {
  switch (value.state) {
    case PairState::kNotMeasured:
      return "-";
    case PairState::kUnreachable:
      return "none!";
    case PairState::kFailed:
      return "failed!";
    case PairState::kMeasured:
      break;
  }
  return fmt::format("{:.3g}{}", value.gbps, bad || value.wrong > 0 ? "!" : "");
}

std::string matrix_text(const Fabric& fabric, const Matrix& matrix, double limit) {
  size_t width = 8;
  for (const Node& node : fabric.nodes) width = std::max(width, node.name.size() + 1);
  std::string text = fmt::format("{:>{}}", "", width);
  for (const Node& node : fabric.nodes) text += fmt::format("{:>{}}", node.name, width);
  text += "\n";
  for (int from = 0; from < fabric.node_count(); ++from) {
    text += fmt::format("{:>{}}", fabric.nodes[static_cast<size_t>(from)].name, width);
    for (int to = 0; to < fabric.node_count(); ++to) {
      const PairValue& value = matrix.at(from, to);
      const bool bad = value.state == PairState::kMeasured && value.gbps < limit;
      text += fmt::format("{:>{}}", from == to ? "." : cell(value, bad), width);
    }
    text += "\n";
  }
  return text;
}

std::string rails_text(const Fabric& fabric, const Verdict& verdict) {
  std::string text;
  for (int rail = 0; rail < fabric.rail_count(); ++rail) {
    const auto index = static_cast<size_t>(rail);
    const RailSummary& summary = verdict.rails[index];
    const std::vector<Rail>& rails = fabric.nodes.front().rails;
    text += fmt::format(
        "\nrail {}{}: median {:.3g} Gbit/s, spread {:.2g}, least {:.3g}, wanted {:.3g}; latency "
        "{:.3g} us; {} ways, {} bad\n",
        rail,
        index < rails.size() ? fmt::format(" ({} {})", rails[index].transport, rails[index].name)
                             : "",
        summary.median, summary.spread, summary.least, summary.limit, summary.latency_us,
        summary.measured, summary.bad);
    if (fabric.node_count() <= kMostInMatrix) {
      text += matrix_text(fabric, fabric.rails[index], summary.limit);
    }
  }
  return text;
}

std::string at_once_text(const Fabric& fabric) {
  std::string text;
  for (const AtOnce& all : fabric.at_once) {
    const std::string rail = all.rail < 0 ? "all rails" : fmt::format("rail {}", all.rail);
    text += all.left_out.empty()
                ? fmt::format("  {:<10} {:.3g} Gbit/s of {:.3g} one by one ({:.0f} %)\n", rail,
                              all.gbps, all.alone_gbps,
                              all.alone_gbps > 0 ? 100 * all.gbps / all.alone_gbps : 0)
                : fmt::format("  {:<10} left out: {}\n", rail, all.left_out);
  }
  return text.empty() ? text : "\nall nodes at once\n" + text;
}

std::string collectives_text(const Fabric& fabric) {
  std::string text;
  for (const CollectiveResult& result : fabric.collectives) {
    text += fmt::format("  {:<15} {:>10} B {:>10.1f} us {:>8.3g} Gbit/s bus {:>4} wrong\n",
                        result.name, result.bytes, result.time_us, result.bus_gbps, result.wrong);
  }
  return text.empty() ? text : "\ncollectives, every element checked\n" + text;
}

std::string drills_text(const Fabric& fabric) {
  std::string text;
  for (const DrillResult& drill : fabric.drills) {
    text += drill.left_out.empty()
                ? fmt::format(
                      "  rail {}: {} operations, {} wrong, usually {:.1f} ms, stalled for "
                      "{:.0f} ms, {} bytes sent again, {}\n",
                      drill.rail, drill.operations, drill.wrong, drill.usual_ms, drill.stall_ms,
                      drill.replayed_bytes,
                      drill.came_back ? fmt::format("back after {:.0f} ms", drill.back_after_ms)
                                      : "did not come back")
                : fmt::format("  rail {}: left out: {}\n", drill.rail, drill.left_out);
  }
  return text.empty() ? text : "\nfailover drill\n" + text;
}

std::string findings_text(const Verdict& verdict) {
  std::string text;
  for (const Finding& finding : verdict.findings) {
    text += fmt::format("{} {}\n", finding.fails ? "FAIL" : "note", finding.text);
  }
  return text.empty() ? text : "\n" + text;
}

std::string missing_text(const Fabric& fabric) {
  std::string text;
  for (const Missing& missing : fabric.missing) {
    const auto node = static_cast<size_t>(missing.node);
    text += fmt::format("MISSING {}, stage '{}': {}\n",
                        missing.node < 0 ? "part of the check" : fabric.nodes[node].name,
                        missing.stage, missing.why);
  }
  return text;
}

std::string verdict_text(const Fabric& fabric, const Verdict& verdict) {
  const auto fails = std::ranges::count(verdict.findings, true, &Finding::fails);
  return fmt::format("\nverdict: {} ({} nodes, {} rails{})\n", judgement_name(verdict.judgement),
                     fabric.node_count(), fabric.rail_count(),
                     fails > 0 ? fmt::format(", {} failed", fails) : "");
}

}  // namespace

std::string report_text(const Fabric& fabric, const Verdict& verdict) {
  std::string text;
  if (!fabric.nodes.empty()) {
    text = "\nGbit/s of payload; rows send, columns receive; ! is out of line\n" +
           rails_text(fabric, verdict);
  }
  if (fabric.rail_count() > 1 && fabric.node_count() <= kMostInMatrix) {
    text += "\nall rails together\n" + matrix_text(fabric, fabric.all_rails, 0);
  }
  return text + at_once_text(fabric) + collectives_text(fabric) + drills_text(fabric) +
         findings_text(verdict) + missing_text(fabric) + verdict_text(fabric, verdict);
}

std::string quiet_text(const Fabric& fabric, const Verdict& verdict) {
  if (verdict.judgement == Judgement::kPass) return {};
  return findings_text(verdict) + missing_text(fabric) + verdict_text(fabric, verdict);
}

}  // namespace railccl::perftest::fabric
