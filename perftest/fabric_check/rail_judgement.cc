#include "perftest/fabric_check/rail_judgement.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "perftest/fabric_check/statistics.h"

namespace railccl::perftest::fabric {
namespace {

// Where measurements scatter, a way is out of line only outside of so many spreads.
constexpr double kSpreads = 4;
constexpr double kMostTolerance = 0.5;

std::string rail_text(const Fabric& fabric, int node, int rail) {
  const std::vector<Rail>& rails = fabric.nodes[static_cast<size_t>(node)].rails;
  const auto index = static_cast<size_t>(rail);
  return index < rails.size() ? fmt::format("rail {} ({})", rail, rails[index].name)
                              : fmt::format("rail {}", rail);
}

// The bad ways of a cause: what they reached, and why they were not measured.
struct Evidence {
  int ways = 0;
  int silent = 0;  // not measured
  std::vector<double> gbps;
  std::vector<double> latency_us;
  std::string error;

  void add(const PairValue& value) {
    ++ways;
    if (value.state != PairState::kMeasured) {
      ++silent;
      if (error.empty()) error = value.error;
      return;
    }
    gbps.push_back(value.gbps);
    latency_us.push_back(value.latency_us);
  }
  std::string text(const RailSummary& rail, const RailThresholds& thresholds) const {
    std::string text;
    if (silent > 0) {
      text = fmt::format("nothing gets through on {} of {} ways{}{}", silent, ways,
                         error.empty() ? "" : ": ", error);
    }
    if (gbps.empty()) return text;
    if (!text.empty()) text += "; ";
    const double reached = median(gbps);
    text += fmt::format("{:.3g} Gbit/s (median of {} {}), {} {:.3g}", reached, gbps.size(),
                        gbps.size() == 1 ? "way" : "ways",
                        thresholds.min_gbps ? "wanted" : "its siblings",
                        thresholds.min_gbps ? *thresholds.min_gbps : rail.median);
    if (thresholds.max_latency_us && median(latency_us) > *thresholds.max_latency_us) {
      text += fmt::format(", latency {:.3g} us, allowed {:.3g}", median(latency_us),
                          *thresholds.max_latency_us);
    }
    return text;
  }
};

class RailExplainer {
 public:
  RailExplainer(const Fabric& fabric, int rail, const RailSummary& summary,
                const Thresholds& thresholds)
      : fabric_(fabric),
        rail_(rail),
        summary_(summary),
        thresholds_(thresholds.of_rail(rail)),
        matrix_(fabric.rails[static_cast<size_t>(rail)]),
        ways_(bad_ways(matrix_, summary.limit, thresholds_)) {}

  std::vector<Finding> run() const {
    std::vector<Finding> findings;
    for (const Cause& cause : find_causes(ways_)) findings.push_back(finding(cause));
    return findings;
  }

 private:
  Finding finding(const Cause& cause) const {
    switch (cause.kind) {
      case Cause::Kind::kPlane:
        return plane();
      case Cause::Kind::kNode:
        return node(cause);
      case Cause::Kind::kPair:
        break;
    }
    return pair(cause);
  }

  Evidence evidence(const auto& concerns) const {
    Evidence evidence;
    for (int from = 0; from < ways_.nodes(); ++from) {
      for (int to = 0; to < ways_.nodes(); ++to) {
        if (ways_.bad(from, to) && concerns(from, to)) evidence.add(matrix_.at(from, to));
      }
    }
    return evidence;
  }

  Finding plane() const {
    const Evidence all = evidence([](int, int) { return true; });
    return {.likely = Likely::kPlane,
            .rail = rail_,
            .text = fmt::format("rail {}, all nodes: {}: its switch plane, or its configuration "
                                "on all hosts",
                                rail_, all.text(summary_, thresholds_))};
  }

  Finding node(const Cause& cause) const {
    const Evidence own = evidence([&](int from, int to) {
      return (cause.sends && from == cause.node) || (cause.receives && to == cause.node);
    });
    const char* direction = cause.sends && cause.receives ? "sending and receiving"
                            : cause.sends                 ? "sending"
                                                          : "receiving";
    return {.likely = Likely::kNic,
            .rail = rail_,
            .nodes = {cause.node},
            .text = fmt::format("{}, {}, {}: {}: its NIC, its cable or its switch port",
                                name(cause.node), rail_text(fabric_, cause.node, rail_), direction,
                                own.text(summary_, thresholds_))};
  }

  Finding pair(const Cause& cause) const {
    const Evidence own = evidence([&](int from, int to) {
      return (cause.sends && from == cause.node && to == cause.other) ||
             (cause.receives && from == cause.other && to == cause.node);
    });
    const char* arrow = cause.sends && cause.receives ? "<->" : cause.sends ? "->" : "<-";
    const char* cause_text =
        ways_.nodes() == 2 ? "one of their NICs, cables or the switch (with two nodes these cannot "
                             "be told apart)"
                           : "only these two: the way between them, as a link between switches";
    return {
        .likely = Likely::kPath,
        .rail = rail_,
        .nodes = {cause.node, cause.other},
        .text = fmt::format("{} {} {}, rail {}: {}: {}", name(cause.node), arrow, name(cause.other),
                            rail_, own.text(summary_, thresholds_), cause_text)};
  }

  const std::string& name(int node) const { return fabric_.nodes[static_cast<size_t>(node)].name; }

  const Fabric& fabric_;
  int rail_;
  const RailSummary& summary_;
  const RailThresholds& thresholds_;
  const Matrix& matrix_;
  Ways ways_;
};

// The subnet that most nodes have on this rail; the first of equals.
std::string usual_subnet(const Fabric& fabric, size_t rail) {
  std::map<std::string, int> votes;
  std::string usual;
  for (const Node& node : fabric.nodes) {
    if (rail >= node.rails.size() || node.rails[rail].subnet.empty()) continue;
    ++votes[node.rails[rail].subnet];
    if (usual.empty()) usual = node.rails[rail].subnet;
  }
  for (const auto& [subnet, count] : votes) {
    if (count > votes[usual]) usual = subnet;
  }
  return usual;
}

}  // namespace

RailSummary summarize(const Matrix& matrix, const RailThresholds& thresholds, double tolerance) {
  const std::vector<double> gbps = measured_gbps(matrix);
  RailSummary summary{
      .measured = static_cast<int>(gbps.size()), .median = median(gbps), .spread = spread(gbps)};
  std::vector<double> latencies;
  for (int from = 0; from < static_cast<int>(matrix.nodes()); ++from) {
    for (int to = 0; to < static_cast<int>(matrix.nodes()); ++to) {
      const PairValue& value = matrix.at(from, to);
      if (value.state == PairState::kMeasured) latencies.push_back(value.latency_us);
    }
  }
  summary.latency_us = median(std::move(latencies));
  if (!gbps.empty()) summary.least = *std::ranges::min_element(gbps);
  const double usual = reference(gbps);
  const double scatter = usual > 0 ? kSpreads * summary.spread / usual : 0;
  const double allowed = std::max(tolerance, std::min(scatter, kMostTolerance));
  summary.limit = thresholds.min_gbps.value_or(usual * (1 - allowed));
  summary.bad = bad_ways(matrix, summary.limit, thresholds).count_bad();
  return summary;
}

Ways bad_ways(const Matrix& matrix, double limit_gbps, const RailThresholds& thresholds) {
  Ways ways(static_cast<int>(matrix.nodes()));
  for (int from = 0; from < ways.nodes(); ++from) {
    for (int to = 0; to < ways.nodes(); ++to) {
      const PairValue& value = matrix.at(from, to);
      if (value.state == PairState::kNotMeasured) continue;
      const bool late = thresholds.max_latency_us && value.latency_us > *thresholds.max_latency_us;
      ways.set(from, to, value.state != PairState::kMeasured || value.gbps < limit_gbps || late);
    }
  }
  return ways;
}

std::vector<Finding> slow_planes(const Fabric& fabric, const Thresholds& thresholds) {
  std::vector<double> best;
  for (const Matrix& matrix : fabric.rails) best.push_back(reference(measured_gbps(matrix)));
  const double fastest = best.empty() ? 0 : *std::ranges::max_element(best);
  std::vector<Finding> findings;
  for (size_t rail = 0; rail < best.size(); ++rail) {
    const auto number = static_cast<int>(rail);
    const bool slow = best[rail] > 0 && best[rail] < fastest * (1 - thresholds.tolerance);
    if (!slow || thresholds.of_rail(number).min_gbps) continue;
    findings.push_back(
        {.likely = Likely::kPlane,
         .rail = number,
         .text = fmt::format(
             "rail {}, all nodes: {:.3g} Gbit/s at its best, the fastest rail {:.3g}: its switch "
             "plane{} (if that is meant to be so, give thresholds)",
             rail, best[rail], fastest,
             fabric.node_count() == 2 ? ", or a NIC or cable of one of the two nodes" : "")});
  }
  return findings;
}

std::vector<Finding> explain_rail(const Fabric& fabric, int rail, const RailSummary& summary,
                                  const Thresholds& thresholds) {
  return RailExplainer(fabric, rail, summary, thresholds).run();
}

std::vector<Finding> crossed_rails(const Fabric& fabric) {
  std::vector<std::string> usual;
  for (size_t rail = 0; rail < fabric.rails.size(); ++rail) {
    usual.push_back(usual_subnet(fabric, rail));
  }
  std::vector<Finding> findings;
  for (size_t node = 0; node < fabric.nodes.size(); ++node) {
    const std::vector<Rail>& rails = fabric.nodes[node].rails;
    for (size_t rail = 0; rail < std::min(rails.size(), usual.size()); ++rail) {
      const std::string& subnet = rails[rail].subnet;
      if (subnet.empty() || subnet == usual[rail]) continue;
      const auto where = std::ranges::find(usual, subnet);
      if (where == usual.end()) continue;
      findings.push_back(
          {.likely = Likely::kCrossed,
           .rail = static_cast<int>(rail),
           .nodes = {static_cast<int>(node)},
           .text = fmt::format("{}, rail {} ({}, {}): in the subnet {} of the other nodes' rail "
                               "{}: crossed rails; swap the cables, or name the rails in the same "
                               "order everywhere (RAILCCL_RAILS, NCCL_IB_HCA)",
                               fabric.nodes[node].name, rail, rails[rail].name, rails[rail].address,
                               subnet, where - usual.begin())});
    }
  }
  return findings;
}

}  // namespace railccl::perftest::fabric
