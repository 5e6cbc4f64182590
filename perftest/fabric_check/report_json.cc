#include "perftest/fabric_check/report_json.h"

#include <array>

namespace railccl::perftest::fabric {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson nodes_json(const Fabric& fabric) {
  OrderedJson nodes = OrderedJson::array();
  for (const Node& node : fabric.nodes) {
    OrderedJson rails = OrderedJson::array();
    for (const Rail& rail : node.rails) {
      rails.push_back({{"name", rail.name},
                       {"transport", rail.transport},
                       {"address", rail.address},
                       {"subnet", rail.subnet}});
    }
    nodes.push_back({{"name", node.name}, {"ranks", node.ranks}, {"rails", rails}});
  }
  return nodes;
}

OrderedJson way_json(const PairValue& value) {
  constexpr std::array<const char*, 4> kStates = {"not_measured", "measured", "unreachable",
                                                  "failed"};
  OrderedJson way = {{"state", kStates[static_cast<size_t>(value.state)]}};
  if (value.state == PairState::kMeasured) {
    way["gbps"] = value.gbps;
    way["latency_us"] = value.latency_us;
    way["wrong"] = value.wrong;
  } else if (!value.error.empty()) {
    way["error"] = value.error;
  }
  return way;
}

// By sender, then by receiver; null on the diagonal.
OrderedJson matrix_json(const Matrix& matrix) {
  OrderedJson rows = OrderedJson::array();
  for (int from = 0; from < static_cast<int>(matrix.nodes()); ++from) {
    OrderedJson row = OrderedJson::array();
    for (int to = 0; to < static_cast<int>(matrix.nodes()); ++to) {
      row.push_back(from == to ? OrderedJson(nullptr) : way_json(matrix.at(from, to)));
    }
    rows.push_back(row);
  }
  return rows;
}

OrderedJson rails_json(const Fabric& fabric, const Verdict& verdict) {
  OrderedJson rails = OrderedJson::array();
  for (size_t rail = 0; rail < fabric.rails.size(); ++rail) {
    const RailSummary& summary = verdict.rails[rail];
    rails.push_back({{"rail", rail},
                     {"median_gbps", summary.median},
                     {"spread_gbps", summary.spread},
                     {"least_gbps", summary.least},
                     {"wanted_gbps", summary.limit},
                     {"latency_us", summary.latency_us},
                     {"measured", summary.measured},
                     {"bad", summary.bad},
                     {"matrix", matrix_json(fabric.rails[rail])}});
  }
  return rails;
}

OrderedJson at_once_json(const Fabric& fabric) {
  OrderedJson all = OrderedJson::array();
  for (const AtOnce& each : fabric.at_once) {
    all.push_back({{"rail", each.rail < 0 ? OrderedJson("all") : OrderedJson(each.rail)},
                   {"gbps", each.gbps},
                   {"one_by_one_gbps", each.alone_gbps},
                   {"wrong", each.wrong},
                   {"left_out", each.left_out}});
  }
  return all;
}

OrderedJson collectives_json(const Fabric& fabric) {
  OrderedJson all = OrderedJson::array();
  for (const CollectiveResult& each : fabric.collectives) {
    all.push_back({{"name", each.name},
                   {"bytes", each.bytes},
                   {"time_us", each.time_us},
                   {"bus_gbps", each.bus_gbps},
                   {"wrong", each.wrong}});
  }
  return all;
}

OrderedJson drills_json(const Fabric& fabric) {
  OrderedJson all = OrderedJson::array();
  for (const DrillResult& each : fabric.drills) {
    all.push_back({{"rail", each.rail},
                   {"operations", each.operations},
                   {"wrong", each.wrong},
                   {"usual_ms", each.usual_ms},
                   {"stall_ms", each.stall_ms},
                   {"went_down", each.went_down},
                   {"came_back", each.came_back},
                   {"back_after_ms", each.back_after_ms},
                   {"replayed_bytes", each.replayed_bytes},
                   {"left_out", each.left_out}});
  }
  return all;
}

OrderedJson counters_json(const Fabric& fabric) {
  OrderedJson all = OrderedJson::array();
  for (const CounterChange& each : fabric.counters) {
    all.push_back({{"node", fabric.nodes[static_cast<size_t>(each.node)].name},
                   {"rail", each.rail},
                   {"counter", each.counter},
                   {"before", each.before},
                   {"after", each.after},
                   {"meaning", each.meaning}});
  }
  return all;
}

OrderedJson findings_json(const Fabric& fabric, const Verdict& verdict) {
  OrderedJson all = OrderedJson::array();
  for (const Finding& each : verdict.findings) {
    OrderedJson nodes = OrderedJson::array();
    for (const int node : each.nodes) {
      nodes.push_back(fabric.nodes[static_cast<size_t>(node)].name);
    }
    all.push_back({{"fails", each.fails},
                   {"likely", likely_name(each.likely)},
                   {"rail", each.rail < 0 ? OrderedJson(nullptr) : OrderedJson(each.rail)},
                   {"nodes", nodes},
                   {"text", each.text}});
  }
  return all;
}

OrderedJson missing_json(const Fabric& fabric) {
  OrderedJson all = OrderedJson::array();
  for (const Missing& each : fabric.missing) {
    all.push_back(
        {{"node", each.node < 0 ? OrderedJson(nullptr)
                                : OrderedJson(fabric.nodes[static_cast<size_t>(each.node)].name)},
         {"stage", each.stage},
         {"why", each.why}});
  }
  return all;
}

}  // namespace

OrderedJson report_json(const Fabric& fabric, const Verdict& verdict) {
  return {{"format", "railccl-fabric-report-1"},
          {"verdict", judgement_name(verdict.judgement)},
          {"findings", findings_json(fabric, verdict)},
          {"missing", missing_json(fabric)},
          {"nodes", nodes_json(fabric)},
          {"rails", rails_json(fabric, verdict)},
          {"all_rails", matrix_json(fabric.all_rails)},
          {"all_at_once", at_once_json(fabric)},
          {"collectives", collectives_json(fabric)},
          {"drills", drills_json(fabric)},
          {"counters", counters_json(fabric)}};
}

}  // namespace railccl::perftest::fabric
