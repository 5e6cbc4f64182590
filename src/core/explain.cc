#include "src/core/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/core/machine_text.h"
#include "src/core/rail_plan.h"

namespace railccl {
namespace {

using nlohmann::json;

constexpr std::array<Collective, 8> kExplained = {
    Collective::kAllReduce, Collective::kAllGather,     Collective::kBroadcast,
    Collective::kReduce,    Collective::kReduceScatter, Collective::kAllToAll,
    Collective::kGather,    Collective::kScatter};
constexpr std::array<uint64_t, 8> kSizes = {8,       1024,      16384,     65536,
                                            1 << 20, 16u << 20, 64u << 20, 256u << 20};

json describe_candidate(const Candidate& candidate, const Call& call) {
  json entry = {{"algorithm", candidate.algorithm->name}};
  if (!candidate.unsuitable.empty()) {
    entry["left_out"] = candidate.unsuitable;
    return entry;
  }
  entry["predicted_us"] = candidate.seconds * 1e6;
  entry["piece_bytes"] = candidate.piece * call.element();
  return entry;
}

json rails_of(const Communicator& communicator) {
  json rails = json::array();
  const auto& topology = communicator.parts().options.topology;
  const std::span<Rail* const> all = communicator.parts().engine->rails();
  const auto tier = [](const Rail* rail) { return tier_of(rail->info().transport); };
  const int best = all.empty() ? 0 : tier(*std::ranges::min_element(all, {}, tier));
  for (const Rail* rail : all) {
    const RailInfo& info = rail->info();
    rails.push_back(
        rail_as_json(info, topology ? topology->place_of(info.pci_address) : PciPlace{}));
    rails.back()["standby"] = tier(rail) > best;
  }
  return rails;
}

json machine_of(const Communicator& communicator) {
  const auto& topology = communicator.parts().options.topology;
  return machine_as_json(topology ? topology->shape() : MachineShape{});
}

json nodes_of(const Communicator& communicator) {
  json nodes = json::array();
  const Layout& layout = *communicator.parts().layout;
  for (const auto& ranks : layout.ranks_of) {
    const NodeInfo& first = communicator.parts().nodes[static_cast<size_t>(ranks[0])];
    nodes.push_back({{"host", first.host}, {"ranks", ranks}, {"rails", first.rails.size()}});
  }
  return nodes;
}

json rails_in_force_of(const Communicator& communicator) {
  const Communicator::RailsInForce now = communicator.rails_in_force();
  json reduced = json::array();
  for (const auto& [rank, view] : now.picture.reduced) {
    reduced.push_back({{"rank", rank},
                       {"rails_down", rails_in(view.down)},
                       {"rails_slow", rails_in(view.slow)},
                       {"towards", view.towards},
                       {"bytes_per_second", view.bytes_per_second}});
  }
  return {{"version", now.picture.version},
          {"from_operation", now.picture.from_operation},
          {"network_bytes_per_second", now.machine.network_bytes_per_second},
          {"reduced", reduced},
          {"why", to_string(now.picture)}};
}

// Empty without RAILCCL_PREDICT.
json measured_of(const Communicator& communicator) {
  json measured = json::array();
  if (communicator.stats() == nullptr) return measured;
  for (const PredictedTotals& totals : communicator.stats()->predicted()) {
    const auto mean_us = [&](TimeNs sum) {
      return static_cast<double>(sum) / static_cast<double>(totals.operations) / 1000;
    };
    measured.push_back({{"collective", collective_name(totals.collective)},
                        {"largest_bytes", totals.largest_bytes},
                        {"operations", totals.operations},
                        {"predicted_us", mean_us(totals.predicted_ns)},
                        {"measured_us", mean_us(totals.took_ns)},
                        {"measured_over_predicted", totals.ratio()}});
  }
  return measured;
}

std::string text_of_measured(const json& measured) {
  if (measured.empty()) return {};
  std::string text =
      fmt::format("{:>14} {:>12} {:>10} {:>14} {:>14} {:>8}\n", "collective", "bytes up to",
                  "operations", "predicted us", "measured us", "ratio");
  for (const json& row : measured) {
    text +=
        fmt::format("{:>14} {:>12} {:>10} {:>14.1f} {:>14.1f} {:>8.2f}\n",
                    row["collective"].get<std::string>(), row["largest_bytes"].get<uint64_t>(),
                    row["operations"].get<uint64_t>(), row["predicted_us"].get<double>(),
                    row["measured_us"].get<double>(), row["measured_over_predicted"].get<double>());
  }
  return text;
}

std::string why(const json& chosen, const json& considered, bool kept) {
  if (kept) {
    return fmt::format(
        "predicted {:.1f} us; kept from the start, so that results stay the same "
        "bit for bit (RAILCCL_RETUNE)",
        chosen["predicted_us"].get<double>());
  }
  for (const json& other : considered) {
    if (other.contains("left_out") || other["algorithm"] == chosen["algorithm"]) continue;
    const double ratio = other["predicted_us"].get<double>() / chosen["predicted_us"].get<double>();
    return fmt::format("predicted {:.1f} us; {} would take {:.2f} times as long{}",
                       chosen["predicted_us"].get<double>(), other["algorithm"].get<std::string>(),
                       ratio,
                       ratio < 1 ? ", which counts as equal, but sends and reduces more" : "");
  }
  return "the only one that can run it";
}

std::string text_of_rails(const json& rails) {
  return fmt::format("rails in force: {}; {:.1f} MB/s for each rank\n",
                     rails["why"].get<std::string>(),
                     rails["network_bytes_per_second"].get<double>() / 1e6);
}

std::string text_of_call(const json& call) {
  std::string text =
      fmt::format("{}: {} in pieces of {} bytes, {} channels, {} pieces under way ({})\n",
                  call["call"].get<std::string>(), call["chosen"]["algorithm"].get<std::string>(),
                  call["chosen"]["piece_bytes"].get<uint64_t>(), call["channels"].get<int>(),
                  call["depth"].get<int>(), call["why"].get<std::string>());
  if (call.contains("rails_in_force")) text += text_of_rails(call["rails_in_force"]);
  for (const json& other : call["considered"]) {
    if (other["algorithm"] == call["chosen"]["algorithm"]) continue;
    text +=
        fmt::format("  not {}: {}\n", other["algorithm"].get<std::string>(),
                    other.contains("left_out")
                        ? other["left_out"].get<std::string>()
                        : fmt::format("predicted {:.1f} us", other["predicted_us"].get<double>()));
  }
  return text;
}

}  // namespace

Result<json> explain_call(const Communicator& communicator, const Call& call) {
  if (communicator.uses_small(call)) {
    return json{{"call", to_string(call.fingerprint())},
                {"chosen", {{"algorithm", "small"}, {"piece_bytes", call.count * call.element()}}},
                {"channels", 1},
                {"depth", 1},
                {"considered", json::array()},
                {"why", "one node and a payload that fits the shared cache lines"}};
  }
  RAILCCL_ASSIGN(const Decision decision, communicator.explain(call));
  json considered = json::array();
  for (const Candidate& candidate : decision.considered) {
    considered.push_back(describe_candidate(candidate, call));
  }
  const json chosen = describe_candidate(decision.chosen, call);
  const json rails = rails_in_force_of(communicator);
  const bool kept = rails["version"].get<uint64_t>() > 0 && communicator.choice_is_kept(call);
  return json{{"call", to_string(call.fingerprint())},
              {"chosen", chosen},
              {"channels", decision.channels},
              {"depth", decision.depth},
              {"considered", considered},
              {"why", why(chosen, considered, kept)},
              {"rails_in_force", rails},
              {"predicted_and_measured", measured_of(communicator)}};
}

Result<json> explain_all(const Communicator& communicator) {
  json all = {{"communicator", communicator.name()},
              {"id", fmt::format("{:016x}", communicator.parts().id)},
              {"rank", communicator.rank()},
              {"ranks", communicator.ranks()},
              {"machine", machine_of(communicator)},
              {"rails", rails_of(communicator)},
              {"nodes", nodes_of(communicator)},
              {"rails_in_force", rails_in_force_of(communicator)},
              {"gpudirect", "none: host memory"},
              {"node_memory", communicator.parts().direct
                                  ? "direct: ranks of a node load and store each other's buffers"
                                  : "staged: through shared scratch"},
              {"choices", json::array()},
              {"predicted_and_measured", measured_of(communicator)}};
  for (const Collective collective : kExplained) {
    for (const uint64_t bytes : kSizes) {
      Call call{.collective = collective, .type = DataType::kFloat32, .count = bytes / 4};
      RAILCCL_ASSIGN(json one, explain_call(communicator, call));
      one["bytes"] = bytes;
      one.erase("predicted_and_measured");
      one.erase("rails_in_force");
      all["choices"].push_back(std::move(one));
    }
  }
  return all;
}

std::string explanation_as_text(const json& explanation) {
  if (!explanation.contains("choices")) {
    return text_of_call(explanation) +
           text_of_measured(explanation.value("predicted_and_measured", json::array()));
  }
  std::string text = fmt::format("rank {} of {}\n", explanation["rank"].get<int>(),
                                 explanation["ranks"].get<int>());
  text += machine_as_text(explanation["machine"]) + "rails of this rank:\n";
  for (const json& rail : explanation["rails"]) text += rail_as_text(rail);
  text += fmt::format("GPUDirect: {}\nmemory inside a node: {}\nnodes:\n",
                      explanation["gpudirect"].get<std::string>(),
                      explanation["node_memory"].get<std::string>());
  for (const json& node : explanation["nodes"]) {
    text += fmt::format("  {}: ranks {}, {} rails\n", node["host"].get<std::string>(),
                        node["ranks"].dump(), node["rails"].get<size_t>());
  }
  text += text_of_rails(explanation["rails_in_force"]);
  text += fmt::format("{:>14} {:>12}  {:<14} {}\n", "collective", "bytes", "algorithm", "why");
  for (const json& choice : explanation["choices"]) {
    const auto call = choice["call"].get<std::string>();
    text += fmt::format("{:>14} {:>12}  {:<14} {}\n", call.substr(0, call.find('(')),
                        choice["bytes"].get<uint64_t>(),
                        choice["chosen"]["algorithm"].get<std::string>(),
                        choice["why"].get<std::string>());
  }
  return text + text_of_measured(explanation["predicted_and_measured"]);
}

}  // namespace railccl
