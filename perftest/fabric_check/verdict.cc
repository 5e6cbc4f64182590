#include "perftest/fabric_check/verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>

#include "perftest/fabric_check/rail_judgement.h"
#include "perftest/fabric_check/statistics.h"

namespace railccl::perftest::fabric {
namespace {

using Findings = std::vector<Finding>;

// All rails together, against the sum of each alone, before it is worth a note.
constexpr double kNotedShare = 0.7;

void append(Findings& findings, Findings more) {
  std::ranges::move(more, std::back_inserter(findings));
}

const std::string& name(const Fabric& fabric, int node) {
  return fabric.nodes[static_cast<size_t>(node)].name;
}

// A node that is blamed on every one of several rails: one finding in place of one per rail. And
// one that reaches nobody on several, but not all: its cables may be crossed.
Findings merge_nodes(const Fabric& fabric, Findings findings) {
  const auto is_nic_of = [](const Finding& finding, int node) {
    return finding.likely == Likely::kNic && finding.nodes.front() == node;
  };
  for (int node = 0; node < fabric.node_count(); ++node) {
    std::set<int> rails;
    for (const Finding& finding : findings) {
      if (is_nic_of(finding, node)) rails.insert(finding.rail);
    }
    if (fabric.rail_count() < 2 || static_cast<int>(rails.size()) < fabric.rail_count()) continue;
    std::string evidence;
    for (const Finding& finding : findings) {
      if (is_nic_of(finding, node)) evidence += "\n    " + finding.text;
    }
    std::erase_if(findings, [&](const Finding& finding) { return is_nic_of(finding, node); });
    findings.push_back(
        {.likely = Likely::kNode,
         .nodes = {node},
         .text = fmt::format("{}, on all of its {} rails: the host itself (PCIe, power "
                             "management, NUMA placement, other jobs), or crossed cables where "
                             "nothing gets through{}",
                             name(fabric, node), fabric.rail_count(), evidence)});
  }
  return findings;
}

// What is said of crossed rails is not said again of their NICs.
Findings without_crossed(Findings findings, const Findings& crossed) {
  std::erase_if(findings, [&](const Finding& finding) {
    return finding.likely == Likely::kNic &&
           std::ranges::any_of(crossed, [&](const Finding& other) {
             return other.rail == finding.rail && other.nodes == finding.nodes;
           });
  });
  return findings;
}

Findings wrong_bytes(const Fabric& fabric) {
  Findings findings;
  const auto look = [&](const Matrix& matrix, int rail) {
    for (int from = 0; from < fabric.node_count(); ++from) {
      for (int to = 0; to < fabric.node_count(); ++to) {
        const uint64_t wrong = matrix.at(from, to).wrong;
        if (wrong == 0) continue;
        findings.push_back(
            {.likely = Likely::kWrongBytes,
             .rail = rail,
             .nodes = {from, to},
             .text = fmt::format("{} -> {}, {}: {} wrong elements: memory, PCIe, NIC or cable on "
                                 "the way; RAILCCL_CHECK=1 finds out which rail",
                                 name(fabric, from), name(fabric, to),
                                 rail < 0 ? "all rails" : fmt::format("rail {}", rail), wrong)});
      }
    }
  };
  for (int rail = 0; rail < fabric.rail_count(); ++rail) {
    look(fabric.rails[static_cast<size_t>(rail)], rail);
  }
  if (fabric.all_rails.nodes() > 0) look(fabric.all_rails, -1);
  const auto say = [&](uint64_t wrong, int rail, const std::string& where) {
    if (wrong == 0) return;
    findings.push_back({.likely = Likely::kWrongBytes,
                        .rail = rail,
                        .text = fmt::format("{}: {} wrong elements", where, wrong)});
  };
  for (const CollectiveResult& result : fabric.collectives) {
    say(result.wrong, -1, fmt::format("{} of {} bytes", result.name, result.bytes));
  }
  for (const AtOnce& all : fabric.at_once) {
    say(all.wrong, all.rail, "all nodes at once");
  }
  for (const DrillResult& drill : fabric.drills) {
    say(drill.wrong, drill.rail, fmt::format("drill of rail {}", drill.rail));
  }
  return findings;
}

Findings all_rails(const Fabric& fabric, const Thresholds& thresholds) {
  Findings findings;
  int below = 0;
  double worst = 1;
  for (int from = 0; from < fabric.node_count() && fabric.all_rails.nodes() > 0; ++from) {
    for (int to = 0; to < fabric.node_count(); ++to) {
      const PairValue& together = fabric.all_rails.at(from, to);
      if (together.state == PairState::kNotMeasured) continue;
      double sum = 0;
      for (const Matrix& matrix : fabric.rails) sum += matrix.at(from, to).gbps;
      const bool failed = together.state != PairState::kMeasured;
      if (failed || together.gbps < thresholds.all_rails_min_gbps.value_or(0)) {
        findings.push_back(
            {.likely = Likely::kAllRails,
             .nodes = {from, to},
             .text = failed ? fmt::format("{} -> {}, all rails: {}", name(fabric, from),
                                          name(fabric, to), together.error)
                            : fmt::format("{} -> {}, all rails: {:.3g} Gbit/s, wanted {:.3g}",
                                          name(fabric, from), name(fabric, to), together.gbps,
                                          *thresholds.all_rails_min_gbps)});
        continue;
      }
      const double share = sum > 0 ? together.gbps / sum : 1;
      if (share < kNotedShare) ++below;
      worst = std::min(worst, share);
    }
  }
  if (below > 0 && !thresholds.all_rails_min_gbps) {
    findings.push_back(
        {.fails = false,
         .likely = Likely::kAllRails,
         .text = fmt::format("on {} ways all rails together carry less than {:.0f} % of what "
                             "they carry one by one (the worst {:.0f} %): shared PCIe or adapter, "
                             "or the CPU",
                             below, kNotedShare * 100, worst * 100)});
  }
  return findings;
}

Findings at_once(const Fabric& fabric, const Thresholds& thresholds) {
  Findings findings;
  for (const AtOnce& all : fabric.at_once) {
    if (!all.left_out.empty() || all.alone_gbps <= 0) continue;
    const double share = all.gbps / all.alone_gbps;
    const bool fails = share < thresholds.all_at_once_min_share.value_or(0);
    if (!fails && share >= kNotedShare) continue;
    findings.push_back(
        {.fails = fails,
         .likely = Likely::kAtOnce,
         .rail = all.rail,
         .text = fmt::format(
             "{}, all nodes at once: {:.3g} Gbit/s, {:.0f} % of the {:.3g} that "
             "they reach one by one{}: an oversubscribed spine, or the CPUs",
             all.rail < 0 ? "all rails" : fmt::format("rail {}", all.rail), all.gbps, share * 100,
             all.alone_gbps,
             fails ? fmt::format(" (wanted {:.0f} %)", *thresholds.all_at_once_min_share * 100)
                   : "")});
  }
  return findings;
}

Findings drills(const Fabric& fabric, const Thresholds& thresholds) {
  Findings findings;
  for (const DrillResult& drill : fabric.drills) {
    if (!drill.left_out.empty()) continue;
    const auto say = [&](const std::string& what) {
      findings.push_back({.likely = Likely::kDrill,
                          .rail = drill.rail,
                          .text = fmt::format("drill of rail {}: {}", drill.rail, what)});
    };
    if (!drill.went_down) say("it did not go down on every rank when it was switched off");
    if (!drill.came_back) say("it did not come back on every rank when it was switched on");
    if (drill.stall_ms > thresholds.drill_max_stall_ms) {
      say(fmt::format("operations stalled for {:.0f} ms, allowed are {:.0f}", drill.stall_ms,
                      thresholds.drill_max_stall_ms));
    }
  }
  return findings;
}

Findings counters(const Fabric& fabric, const Thresholds& thresholds) {
  Findings findings;
  for (const CounterChange& change : fabric.counters) {
    const std::string short_name = change.counter.substr(change.counter.rfind(' ') + 1);
    const auto allowed = thresholds.counters.find(short_name);
    const uint64_t grown = change.after - change.before;
    const bool fails = allowed != thresholds.counters.end() && grown > allowed->second;
    findings.push_back({.fails = fails,
                        .likely = Likely::kCounter,
                        .rail = change.rail,
                        .nodes = {change.node},
                        .text = fmt::format("{}, rail {}: {} +{} ({})", name(fabric, change.node),
                                            change.rail, change.counter, grown, change.meaning)});
  }
  return findings;
}

}  // namespace

std::string_view likely_name(Likely likely) {
  constexpr std::array<std::string_view, 10> kNames = {
      "nic",         "path",      "plane",       "node",  "crossed_rails",
      "wrong_bytes", "all_rails", "all_at_once", "drill", "counter"};
  return kNames[static_cast<size_t>(likely)];
}

std::string_view judgement_name(Judgement judgement) {
  constexpr std::array<std::string_view, 3> kNames = {"pass", "fail", "incomplete"};
  return kNames[static_cast<size_t>(judgement)];
}

Verdict judge(const Fabric& fabric, const Thresholds& thresholds) {
  Verdict verdict;
  Findings rails = slow_planes(fabric, thresholds);
  for (int rail = 0; rail < fabric.rail_count(); ++rail) {
    verdict.rails.push_back(summarize(fabric.rails[static_cast<size_t>(rail)],
                                      thresholds.of_rail(rail), thresholds.tolerance));
    append(rails, explain_rail(fabric, rail, verdict.rails.back(), thresholds));
  }
  const Findings crossed = crossed_rails(fabric);
  Findings& findings = verdict.findings;
  findings = crossed;
  append(findings, merge_nodes(fabric, without_crossed(std::move(rails), crossed)));
  append(findings, wrong_bytes(fabric));
  append(findings, all_rails(fabric, thresholds));
  append(findings, at_once(fabric, thresholds));
  append(findings, drills(fabric, thresholds));
  append(findings, counters(fabric, thresholds));
  std::ranges::stable_sort(findings, std::ranges::greater(), &Finding::fails);
  if (!fabric.missing.empty()) {
    verdict.judgement = Judgement::kIncomplete;
  } else if (!findings.empty() && findings.front().fails) {
    verdict.judgement = Judgement::kFail;
  }
  return verdict;
}

std::vector<NodePair> suspects(const Fabric& fabric, int rail, const Thresholds& thresholds) {
  const Matrix& matrix = fabric.rails[static_cast<size_t>(rail)];
  const RailThresholds& of_rail = thresholds.of_rail(rail);
  const double limit = summarize(matrix, of_rail, thresholds.tolerance).limit;
  const Ways ways = bad_ways(matrix, limit, of_rail);
  std::vector<NodePair> pairs;
  for (int node = 0; node < ways.nodes(); ++node) {
    for (int other = node + 1; other < ways.nodes(); ++other) {
      if (ways.bad(node, other) || ways.bad(other, node)) pairs.emplace_back(node, other);
    }
  }
  return pairs;
}

}  // namespace railccl::perftest::fabric
