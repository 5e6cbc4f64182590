// What RailCCL has beyond the NCCL API (include/railccl/railccl.h), but for streams.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "include/railccl/railccl.h"
#include "src/api/comm_handle.h"
#include "src/api/export.h"
#include "src/api/last_error.h"
#include "src/api/text_out.h"
#include "src/base/path_pattern.h"
#include "src/base/trace_dump.h"
#include "src/core/explain.h"
#include "src/core/machine_text.h"
#include "src/core/rail_totals.h"
#include "src/core/runtime.h"
#include "src/core/wiring.h"

namespace railccl {
namespace {

railcclRailStats_t describe(const RailInfo& info, const LinkRailStats& totals, uint64_t all_sent) {
  railcclRailStats_t stats{};
  info.name.copy(stats.name, sizeof stats.name - 1);
  transport_name(info.transport).copy(stats.transport, sizeof stats.transport - 1);
  const bool standby = totals.standby && totals.state == RailState::kUp;
  stats.state = standby ? railcclRailStandby : static_cast<railcclRailState_t>(totals.state);
  stats.slow = totals.slow;
  stats.bytes_sent = totals.bytes_sent;
  stats.bytes_received = totals.bytes_received;
  stats.replayed_bytes = totals.replayed_bytes;
  if (all_sent > 0) {
    stats.share = static_cast<double>(stats.bytes_sent) / static_cast<double>(all_sent);
  }
  stats.bytes_per_second = totals.bytes_per_second;
  stats.latency_us = totals.latency_us;
  stats.stall_ms_max = static_cast<double>(totals.stall_ns_max) / 1e6;
  stats.failures = totals.failures;
  stats.recoveries = totals.recoveries;
  return stats;
}

Status rail_stats(ncclComm_t comm, railcclRailStats_t* stats, int capacity, int* count) {
  constexpr std::string_view kFunction = "railcclCommRailStats";
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core, core_of(comm, kFunction));
  if (count == nullptr)
    return error(Code::kInvalidArgument, "argument count of {} is NULL", kFunction);
  if (stats == nullptr && capacity > 0) {
    return error(Code::kInvalidArgument, "argument stats of {} is NULL", kFunction);
  }
  const std::map<int, RailTotals> by_rail = rail_totals(core->rail_reports());
  uint64_t all_sent = 0;
  for (const auto& [rail, totals] : by_rail) all_sent += totals.sum.bytes_sent;
  *count = static_cast<int>(by_rail.size());
  int index = 0;
  for (const auto& [rail, totals] : by_rail) {
    if (index == capacity) break;
    const RailInfo& info = core->parts().engine->rails()[static_cast<size_t>(rail)]->info();
    stats[index] = describe(info, totals.sum, all_sent);
    stats[index++].rail = rail;
  }
  return Status::ok();
}

Status set_rail(ncclComm_t comm, int rail, int enabled) {
  constexpr std::string_view kFunction = "railcclCommSetRail";
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core, core_of(comm, kFunction));
  return core->set_rail(rail, enabled != 0).with_context(kFunction);
}

Status dump(ncclComm_t comm, const char* path) {
  constexpr std::string_view kFunction = "railcclCommDumpTrace";
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core, core_of(comm, kFunction));
  if (path == nullptr || *path == 0) {
    return error(Code::kInvalidArgument, "argument path of {} is empty", kFunction);
  }
  return dump_trace(expand_path(path, core->rank()), 0).with_context(kFunction);
}

Result<Call> call_of(const railcclCall_t& asked, int ranks) {
  const auto bad = [](std::string_view field, auto value, std::string_view allowed) {
    return error(Code::kInvalidArgument,
                 "field {} of the call given to railcclExplain is {}, allowed is {}", field, value,
                 allowed);
  };
  if (asked.collective < railcclAllReduce || asked.collective > railcclScatter) {
    return bad("collective", static_cast<int>(asked.collective),
               "one that runs by a schedule: railcclAllReduce to railcclScatter");
  }
  if (static_cast<int>(asked.datatype) < 0 || asked.datatype >= ncclNumTypes) {
    return bad("datatype", static_cast<int>(asked.datatype), "a type of ncclDataType_t");
  }
  if (asked.op < ncclSum || asked.op > ncclAvg) {
    return bad("op", static_cast<int>(asked.op), "ncclSum to ncclAvg");
  }
  if (asked.root < 0 || asked.root >= ranks) {
    return bad("root", asked.root, fmt::format("0 to {}", ranks - 1));
  }
  if (asked.count == 0) return bad("count", asked.count, "at least 1");
  return Call{.collective = static_cast<Collective>(asked.collective),
              .type = static_cast<DataType>(asked.datatype),
              .op = static_cast<ReduceOp>(asked.op),
              .root = asked.root,
              .count = asked.count};
}

Status explain(ncclComm_t comm, const railcclCall_t* asked, railcclFormat_t format, char* text,
               size_t capacity, size_t* length) {
  constexpr std::string_view kFunction = "railcclExplain";
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core, core_of(comm, kFunction));
  if (format != railcclText && format != railcclJson) {
    return error(Code::kInvalidArgument,
                 "argument format of {} is {}, allowed are railcclText and railcclJson", kFunction,
                 static_cast<int>(format));
  }
  nlohmann::json explanation;
  if (asked == nullptr) {
    RAILCCL_ASSIGN(explanation, explain_all(*core));
  } else {
    RAILCCL_ASSIGN(const Call call, call_of(*asked, core->ranks()));
    RAILCCL_ASSIGN(explanation, explain_call(*core, call));
  }
  return give_text(format == railcclJson ? explanation.dump(2) : explanation_as_text(explanation),
                   text, capacity, length, kFunction);
}

nlohmann::json information() {
  nlohmann::json info = {{"railccl", railcclVersion()}, {"nccl_api", NCCL_VERSION_CODE},
                         {"compiler", __VERSION__},     {"transports", usable_transports()},
                         {"cuda", has_gpu_kernel()},    {"rails", nlohmann::json::array()}};
  const auto runtime = Runtime::get();
  if (!runtime) {
    info["error"] = runtime.error().message();
    return info;
  }
  const auto& topology = (*runtime)->comm_options().topology;
  info["machine"] = machine_as_json(topology->shape());
  for (const Rail* rail : (*runtime)->engine()->rails()) {
    info["rails"].push_back(
        rail_as_json(rail->info(), topology->place_of(rail->info().pci_address)));
  }
  return info;
}

std::string information_as_text(const nlohmann::json& info) {
  std::string text = fmt::format(
      "RailCCL {}\nserves the NCCL API {}\nbuilt with {}\ntransports: {}\nCUDA: {}\nrails:\n",
      info["railccl"].get<std::string>(), info["nccl_api"].get<int>(),
      info["compiler"].get<std::string>(),
      fmt::join(info["transports"].get<std::vector<std::string>>(), ", "),
      info["cuda"].get<bool>() ? "yes, with a driver that the program loads"
                               : "no, built without nvcc");
  for (const auto& rail : info["rails"]) text += rail_as_text(rail);
  if (info.contains("machine")) text += machine_as_text(info["machine"]);
  if (info.contains("error")) text += fmt::format("error: {}\n", info["error"].get<std::string>());
  return text;
}

}  // namespace
}  // namespace railccl

extern "C" RAILCCL_EXPORTED const char* railcclVersion(void) { return RAILCCL_VERSION; }

extern "C" RAILCCL_EXPORTED ncclResult_t railcclCommRailStats(ncclComm_t comm,
                                                              railcclRailStats_t* stats,
                                                              int capacity, int* count) {
  return railccl::report(railccl::rail_stats(comm, stats, capacity, count));
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclCommSetRail(ncclComm_t comm, int rail,
                                                            int enabled) {
  return railccl::report(railccl::set_rail(comm, rail, enabled));
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclCommDumpTrace(ncclComm_t comm, const char* path) {
  return railccl::report(railccl::dump(comm, path));
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclExplain(ncclComm_t comm, const railcclCall_t* call,
                                                        railcclFormat_t format, char* text,
                                                        size_t capacity, size_t* length) {
  return railccl::report(railccl::explain(comm, call, format, text, capacity, length));
}

extern "C" RAILCCL_EXPORTED ncclResult_t railcclInfo(railcclFormat_t format, char* text,
                                                     size_t capacity, size_t* length) {
  const nlohmann::json info = railccl::information();
  const std::string value =
      format == railcclJson ? info.dump(2) : railccl::information_as_text(info);
  return railccl::report(railccl::give_text(value, text, capacity, length, "railcclInfo"));
}
