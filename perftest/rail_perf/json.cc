#include "perftest/rail_perf/json.h"

#include <numeric>

namespace railccl::perftest::railperf {
namespace {

using Json = nlohmann::ordered_json;

Json node_json(const NodeSide& node) {
  Json rails = Json::array();
  for (const RailSide& rail : node.rails) {
    rails.push_back({{"name", rail.name},
                     {"transport", rail.transport},
                     {"address", rail.address},
                     {"mbit_per_s", rail.bytes_per_second / 125000}});
  }
  return {{"node", node.node}, {"rank", node.rank}, {"host", node.host}, {"rails", rails}};
}

Json stream_json(const Stream& stream) {
  return {{"iterations", stream.puts},
          {"bytes", stream.bytes()},
          {"seconds", stream.seconds},
          {"mbytes_per_s", stream.bytes_per_second() / 1e6},
          {"mbytes_per_s_peak", stream.peak_bytes_per_second() / 1e6},
          {"gbit_per_s", stream.bytes_per_second() * 8 / 1e9},
          {"mpps", stream.puts_per_second() / 1e6}};
}

Json shares_json(const BandwidthResult& result, const LinkResult& link) {
  const auto sum = static_cast<double>(
      std::accumulate(result.rail_bytes.begin(), result.rail_bytes.end(), uint64_t{0}));
  Json list = Json::array();
  for (size_t i = 0; i < result.rail_bytes.size(); ++i) {
    const uint64_t bytes = result.rail_bytes[i];
    list.push_back({{"pair", link.pairs[i]},
                    {"bytes", bytes},
                    {"share", sum > 0 ? static_cast<double>(bytes) / sum : 0}});
  }
  return list;
}

Json bandwidth_json(const BandwidthResult& result, const LinkResult& link) {
  Json json = {{"size", result.bytes}};
  if (result.one_way) {
    json["one_way"] = stream_json(*result.one_way);
    json["one_way"]["rails"] = shares_json(result, link);
  }
  if (result.both_ways) {
    json["both_ways"] = {{"mbytes_per_s", result.both_ways_bytes_per_second() / 1e6},
                         {"gbit_per_s", result.both_ways_bytes_per_second() * 8 / 1e9},
                         {"from_first", stream_json((*result.both_ways)[0])},
                         {"from_second", stream_json((*result.both_ways)[1])}};
  }
  return json;
}

Json latency_json(const LatencyResult& result) {
  const IterationStats& times = result.half_us;
  return {{"size", result.bytes},
          {"iterations", result.round_trips},
          {"half_round_trip_us",
           {{"min", times.min},
            {"p50", times.p50},
            {"mean", times.mean},
            {"stdev", times.stdev},
            {"p95", times.p95},
            {"p99", times.p99},
            {"p99.9", times.p999},
            {"max", times.max}}}};
}

Json rate_json(const RateResult& result) {
  return {{"size", result.bytes},        {"outstanding", result.window},
          {"puts", result.puts.puts},    {"puts_mpps", result.puts.puts_per_second() / 1e6},
          {"messages", result.messages}, {"messages_mpps", result.messages_per_second() / 1e6}};
}

Json rail_json(const LinkRail& rail, size_t pair) {
  return {{"pair", pair},
          {"state", rail.state},
          {"bytes_sent", rail.bytes_sent},
          {"failures", rail.failures},
          {"recoveries", rail.recoveries},
          {"replayed_bytes", rail.replayed_bytes},
          {"last_error", rail.last_error}};
}

Json link_json(const LinkResult& link) {
  Json json = {{"name", link.name},
               {"pairs", link.pairs},
               {"together", link.together()},
               {"connected", link.connected},
               {"error", link.error},
               {"check",
                {{"bytes", link.check.bytes},
                 {"wrong", link.check.wrong},
                 {"first_mistake", link.check.first_mistake}}}};
  json["bandwidth"] = Json::array();
  for (const auto& result : link.bandwidth) {
    json["bandwidth"].push_back(bandwidth_json(result, link));
  }
  json["latency"] = Json::array();
  for (const auto& result : link.latency) json["latency"].push_back(latency_json(result));
  json["rate"] = Json::array();
  for (const auto& result : link.rate) json["rate"].push_back(rate_json(result));
  json["rails"] = Json::array();
  for (size_t i = 0; i < link.rails.size(); ++i) {
    json["rails"].push_back(rail_json(link.rails[i], link.pairs[i]));
  }
  return json;
}

}  // namespace

Json document(const Report& report, const RailPerfOptions& options) {
  Json json = {{"version", 1},
               {"program", "rail_perf"},
               {"settings", report.settings},
               {"config",
                {{"minimum_bytes", options.sizes.min_bytes},
                 {"maximum_bytes", options.sizes.max_bytes},
                 {"step_factor", options.sizes.step_factor},
                 {"iterations", options.iterations},
                 {"seconds", options.iterations > 0 ? 0 : options.seconds},
                 {"warmup", options.warmup}}}};
  json["nodes"] = Json::array();
  for (const NodeSide& node : report.nodes) json["nodes"].push_back(node_json(node));
  json["pairs"] = Json::array();
  for (const RailPair& pair : report.pairs) {
    json["pairs"].push_back({{"rails", {pair.first, pair.second}}});
  }
  json["unpaired"] = report.unpaired;
  json["links"] = Json::array();
  for (const LinkResult& link : report.links) json["links"].push_back(link_json(link));
  json["error"] = report.error;
  json["ok"] = !report.any_failed() && !report.any_wrong();
  return json;
}

}  // namespace railccl::perftest::railperf
