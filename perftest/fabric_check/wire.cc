#include "perftest/fabric_check/wire.h"

#include <charconv>
#include <cstring>

namespace railccl::perftest::fabric {

void to_json(Json& json, const Rail& rail) {
  json = {{"name", rail.name},
          {"transport", rail.transport},
          {"address", rail.address},
          {"subnet", rail.subnet}};
}

void from_json(const Json& json, Rail& rail) {
  json.at("name").get_to(rail.name);
  json.at("transport").get_to(rail.transport);
  json.at("address").get_to(rail.address);
  json.at("subnet").get_to(rail.subnet);
}

void to_json(Json& json, const PairValue& value) {
  json = {{"state", static_cast<int>(value.state)},
          {"gbps", value.gbps},
          {"latency_us", value.latency_us},
          {"wrong", value.wrong},
          {"error", value.error}};
}

void from_json(const Json& json, PairValue& value) {
  value.state = static_cast<PairState>(json.at("state").get<int>());
  json.at("gbps").get_to(value.gbps);
  json.at("latency_us").get_to(value.latency_us);
  json.at("wrong").get_to(value.wrong);
  json.at("error").get_to(value.error);
}

void to_json(Json& json, const PairSide& side) {
  json = {{"rails", side.rails}, {"all_rails", side.all_rails}};
}

void from_json(const Json& json, PairSide& side) {
  json.at("rails").get_to(side.rails);
  json.at("all_rails").get_to(side.all_rails);
}

void to_json(Json& json, const CollectiveResult& result) {
  json = {{"name", result.name},
          {"bytes", result.bytes},
          {"time_us", result.time_us},
          {"bus_gbps", result.bus_gbps},
          {"wrong", result.wrong}};
}

void from_json(const Json& json, CollectiveResult& result) {
  json.at("name").get_to(result.name);
  json.at("bytes").get_to(result.bytes);
  json.at("time_us").get_to(result.time_us);
  json.at("bus_gbps").get_to(result.bus_gbps);
  json.at("wrong").get_to(result.wrong);
}

void to_json(Json& json, const DrillResult& result) {
  json = {{"rail", result.rail},
          {"operations", result.operations},
          {"wrong", result.wrong},
          {"usual_ms", result.usual_ms},
          {"stall_ms", result.stall_ms},
          {"went_down", result.went_down},
          {"came_back", result.came_back},
          {"back_after_ms", result.back_after_ms},
          {"replayed_bytes", result.replayed_bytes},
          {"left_out", result.left_out}};
}

void from_json(const Json& json, DrillResult& result) {
  json.at("rail").get_to(result.rail);
  json.at("operations").get_to(result.operations);
  json.at("wrong").get_to(result.wrong);
  json.at("usual_ms").get_to(result.usual_ms);
  json.at("stall_ms").get_to(result.stall_ms);
  json.at("went_down").get_to(result.went_down);
  json.at("came_back").get_to(result.came_back);
  json.at("back_after_ms").get_to(result.back_after_ms);
  json.at("replayed_bytes").get_to(result.replayed_bytes);
  json.at("left_out").get_to(result.left_out);
}

Json id_as_json(const ncclUniqueId& id) {
  std::string text;
  for (const char byte : id.internal) {
    text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return text;
}

Outcome<ncclUniqueId> id_from_json(const Json& json) {
  ncclUniqueId id;
  const auto* text = json.get_ptr<const std::string*>();
  if (text == nullptr || text->size() != 2 * sizeof id.internal) {
    return failure(Exit::kLibrary, "a command without an id");
  }
  for (size_t i = 0; i < sizeof id.internal; ++i) {
    unsigned value = 0;
    const char* digits = text->data() + 2 * i;
    if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) {
      return failure(Exit::kLibrary, "an id that is not hexadecimal");
    }
    id.internal[i] = static_cast<char>(value);
  }
  return id;
}

Json as_answer(const Outcome<Json>& outcome) {
  if (outcome) return {{"ok", *outcome}};
  return {{"error", outcome.error().message}};
}

}  // namespace railccl::perftest::fabric
