#include "perftest/common/json_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "perftest/common/table.h"

namespace railccl::perftest {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kJsonFileVersion = 3;

// nccl-tests writes truth as text.
const char* truth(bool value) { return value ? "true" : "false"; }

Json number(double value) {
  if (std::isnan(value)) return "nan";
  return value;
}

Json device_json(const RankDevice& device) {
  return {{"rank", device.rank},       {"group", 0},
          {"pid", device.process_id},  {"hostname", device.host},
          {"device", device.device},   {"device_hex", device.bus},
          {"device_info", device.name}};
}

Json devices_json(std::span<const RankDevice> devices) {
  Json list = Json::array();
  for (const RankDevice& device : devices) list.push_back(device_json(device));
  return list;
}

Json placement_json(const PlacementResult& result, const Options& options) {
  Json json;
  json[options.report_cpu_time ? "cpu_time" : "time"] = number(result.time_us);
  json["alg_bw"] = number(result.algorithm_bandwidth);
  json["bus_bw"] = number(result.bus_bandwidth);
  json["nwrong"] = result.wrong ? Json(*result.wrong) : Json(nullptr);
  return json;
}

Json per_iteration_json(const PlacementResult& result, const Options& options) {
  const std::span<const double> times(result.iteration_us);
  const auto skip = std::min(static_cast<size_t>(options.per_iteration_skip), times.size());
  const IterationStats stats = iteration_stats(times.subspan(skip));
  Json json = {{"skipped_iterations", options.per_iteration_skip},
               {"min_us", stats.min},
               {"max_us", stats.max},
               {"avg_us", stats.mean},
               {"p50_us", stats.p50},
               {"p95_us", stats.p95},
               {"p99_us", stats.p99},
               {"stdev_us", stats.stdev},
               {"cv_pct", stats.variation_percent()},
               {"times_us", result.iteration_us}};
  if (result.process_iteration_us.size() > 1) {
    json["per_process_max_times_us"] = result.process_iteration_us;
  }
  return json;
}

// Null where single iterations were not timed.
Json percentiles_json(const PlacementResult& result) {
  if (result.iteration_us.empty()) return nullptr;
  const IterationStats stats = iteration_stats(result.iteration_us);
  return {{"samples", result.iteration_us.size()},
          {"min", stats.min},
          {"mean", stats.mean},
          {"p50", stats.p50},
          {"p95", stats.p95},
          {"p99", stats.p99},
          {"p99.9", stats.p999},
          {"max", stats.max}};
}

Json rail_json(int rank, size_t index, const railcclRailStats_t& rail) {
  return {{"rank", rank},
          {"rail", index},
          {"name", rail.name},
          {"transport", rail.transport},
          {"bytes", rail.bytes_sent},
          {"share", number(rail.share)},
          {"gbytes_per_s", number(rail.bytes_per_second / 1e9)},
          {"failures", rail.failures},
          {"recoveries", rail.recoveries},
          {"stall_ms_max", number(rail.stall_ms_max)},
          {"bytes_received", rail.bytes_received},
          {"replayed_bytes", rail.replayed_bytes},
          {"latency_us", number(rail.latency_us)},
          {"slow", rail.slow != 0},
          {"state", rail_state_text(rail.state)},
          {"up", rail.state == railcclRailUp || rail.state == railcclRailStandby}};
}

}  // namespace

Json config_json(const Options& options, std::span<const RankDevice> devices) {
  const SizeRange& sizes = options.sizes;
  Json json = {{"nthreads", options.threads},
               {"ngpus", 1},
               {"minimum_bytes", sizes.min_bytes},
               {"maximum_bytes", sizes.max_bytes}};
  if (sizes.step_factor > 1) {
    json["step_factor"] = sizes.step_factor;
  } else {
    json["step_bytes"] = sizes.step_bytes;
  }
  json["warmup_iters"] = options.warmup_iterations;
  json["iterations"] = options.iterations;
  json["aggregated_iterations"] = options.aggregated;
  json["validation"] = options.check_iterations;
  json["graph"] = options.graph_launches;
  json["blocking_collectives"] = truth(options.blocking != Blocking::kNone);
  json["per_iter_timing"] = truth(options.per_iteration);
  json["per_iter_skip"] = options.per_iteration_skip;
  json["parallel_init"] = truth(options.parallel_init);
  json["devices"] = devices_json(devices);
  return json;
}

Json result_json(const SizeResult& result, const Options& options) {
  Json json = {{"size", result.bytes},
               {"count", result.count},
               {"type", result.type},
               {"redop", result.op},
               {"root", fmt::format("{:6}", result.root)}};
  json["out_of_place"] = placement_json(result.out_of_place, options);
  if (options.per_iteration) {
    json["out_of_place_per_iter"] = per_iteration_json(result.out_of_place, options);
  }
  json["in_place"] = placement_json(result.in_place, options);
  if (options.per_iteration) {
    json["in_place_per_iter"] = per_iteration_json(result.in_place, options);
  }
  json["actual_iterations"] = result.iterations;
  json["experiment_name"] = "";
  json["time_us"] = {{"out_of_place", percentiles_json(result.out_of_place)},
                     {"in_place", percentiles_json(result.in_place)}};
  return json;
}

Json rails_json(std::span<const RankRails> ranks) {
  Json list = Json::array();
  for (const RankRails& rank : ranks) {
    for (size_t i = 0; i < rank.rails.size(); ++i) {
      list.push_back(rail_json(rank.rank, i, rank.rails[i]));
    }
  }
  return list;
}

Outcome<JsonReport> JsonReport::create(const std::string& path,
                                       std::span<const std::string> arguments,
                                       int library_version) {
  auto file = JsonFile::create(path);
  if (!file) return tl::unexpected(file.error());
  JsonReport report(std::move(*file));
  report.document_ = {{"version", kJsonFileVersion},
                      {"start_time", time_of_day()},
                      {"args", arguments},
                      {"env", environment_json()},
                      {"nccl_version", library_version}};
  report.document_["config"] = nullptr;
  report.document_["devices"] = Json::array();
  report.document_["results"] = Json::array();
  return report;
}

JsonReport::~JsonReport() {
  if (const auto closed = close(); !closed) fmt::print(stderr, "{}\n", closed.error().message);
}

void JsonReport::set_config(const Options& options, std::span<const RankDevice> devices) {
  document_["config"] = config_json(options, devices);
  document_["devices"] = devices_json(devices);
}

void JsonReport::add_result(const SizeResult& result, const Options& options) {
  document_["results"].push_back(result_json(result, options));
}

void JsonReport::set_rails(std::span<const RankRails> ranks) {
  document_["rails"] = rails_json(ranks);
}

void JsonReport::set_summary(const Summary& summary) {
  document_["out_of_bounds"] = {{"count", summary.failed_measurements},
                                {"okay", truth(summary.failed_measurements == 0)}};
  const char* okay =
      !summary.wanted_bus_bandwidth ? "unchecked" : truth(summary.bandwidth_is_fine());
  document_["average_bus_bandwidth"] = {{"bandwidth", number(summary.mean_bus_bandwidth)},
                                        {"okay", okay}};
  document_["errors"] = Json::array({summary.error});
}

Outcome<void> JsonReport::close() {
  if (!file_.is_open()) return {};
  document_["end_time"] = time_of_day();
  return file_.write(document_);
}

}  // namespace railccl::perftest
