#include "algorithms/schedule_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <vector>

namespace railccl {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "railccl-schedules-1";
constexpr std::string_view kStepNames[] = {"put", "signal", "wait", "reduce", "copy"};
constexpr std::string_view kBufferNames[] = {"input", "output", "scratch"};
constexpr size_t kMaxRanks = 4096;  // verifying takes memory in the square of it

// --- writing ---

Json to_json(const Slice& slice) {
  Json json = {kBufferNames[static_cast<size_t>(slice.buffer)], slice.offset};
  if (slice.owner != kSelf) json.push_back(slice.owner);
  return json;
}

Json to_json(const Schedule& schedule, size_t first, size_t count) {
  Json json = Json::array();
  for (size_t i = first; i < first + count; ++i) json.push_back(to_json(schedule.slices[i]));
  return json;
}

Json to_json(const Schedule& schedule, const Step& step) {
  Json json;
  json["do"] = kStepNames[static_cast<size_t>(step.kind)];
  const bool notifies = step.kind != StepKind::kReduce && step.kind != StepKind::kCopy;
  if (notifies) {
    json["peer"] = step.peer;
    json["tag"] = step.tag;
  }
  if (step.previous_lap) json["previous_lap"] = true;
  if (step.final) json["final"] = true;
  if (step.kind == StepKind::kSignal || step.kind == StepKind::kWait) return json;
  json["count"] = step.count;
  json["from"] = to_json(schedule, step.first_slice + step.num_dsts, step.num_srcs);
  json["to"] = to_json(schedule, step.first_slice, step.num_dsts);
  return json;
}

Json to_json(const Schedule& schedule) {
  Json steps = Json::array();
  for (const Step& step : schedule.steps) steps.push_back(to_json(schedule, step));
  return {{"scratch", schedule.scratch_elements}, {"steps", std::move(steps)}};
}

// --- reading ---

// A value and where it stands, for messages.
class Place {
 public:
  Place(const Json& json, std::string path) : json_(&json), path_(std::move(path)) {}

  Error expected(std::string_view what) const {
    return error(Code::kInvalidArgument, "{}: expected {}, found {}", path_, what, shown());
  }
  Status allow_keys(std::initializer_list<std::string_view> keys) const {
    if (!json_->is_object()) return expected("an object");
    for (const auto& [key, value] : json_->items()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        return error(Code::kInvalidArgument, "{}: unknown key \"{}\"", path_, key);
      }
    }
    return Status::ok();
  }
  Result<Place> at(std::string_view key) const {
    const auto found = json_->is_object() ? json_->find(key) : json_->end();
    if (found == json_->end()) {
      return error(Code::kInvalidArgument, "{}: \"{}\" is missing", path_, key);
    }
    return Place(*found, path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key));
  }
  Result<std::vector<Place>> elements(size_t most) const {
    if (!json_->is_array()) return expected("an array");
    if (json_->size() > most) {
      return error(Code::kInvalidArgument, "{}: {} elements, at most {} are allowed", path_,
                   json_->size(), most);
    }
    std::vector<Place> places;
    for (size_t i = 0; i < json_->size(); ++i) {
      places.emplace_back((*json_)[i], fmt::format("{}[{}]", path_, i));
    }
    return places;
  }
  Result<uint64_t> number(uint64_t most) const {
    if (!json_->is_number_unsigned() || json_->get<uint64_t>() > most) {
      return expected(fmt::format("a whole number from 0 to {}", most));
    }
    return json_->get<uint64_t>();
  }
  Result<bool> boolean() const {
    if (!json_->is_boolean()) return expected("true or false");
    return json_->get<bool>();
  }
  // The index of the name.
  Result<size_t> one_of(std::span<const std::string_view> names) const {
    const std::string text = json_->is_string() ? json_->get<std::string>() : "";
    const auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end()) return expected(fmt::format("one of {}", fmt::join(names, ", ")));
    return static_cast<size_t>(found - names.begin());
  }
  bool has(std::string_view key) const { return json_->contains(key); }

 private:
  std::string shown() const {
    constexpr size_t kShown = 60;
    std::string text = json_->dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > kShown) text = text.substr(0, kShown) + "...";
    return text;
  }

  const Json* json_;
  std::string path_;
};

constexpr uint64_t kMaxElements = uint64_t{1} << 48;

Result<uint64_t> number_at(const Place& place, std::string_view key, uint64_t most) {
  RAILCCL_ASSIGN(const Place value, place.at(key));
  return value.number(most);
}

// False where the key is absent.
Result<bool> flag_at(const Place& place, std::string_view key) {
  if (!place.has(key)) return false;
  RAILCCL_ASSIGN(const Place value, place.at(key));
  return value.boolean();
}

Result<Slice> parse_slice(const Place& place, uint64_t ranks) {
  RAILCCL_ASSIGN(const std::vector<Place> parts, place.elements(3));
  if (parts.size() < 2) return place.expected("[buffer, offset] or [buffer, offset, rank]");
  RAILCCL_ASSIGN(const size_t buffer, parts[0].one_of(kBufferNames));
  Slice slice{.buffer = static_cast<BufferId>(buffer)};
  RAILCCL_ASSIGN(slice.offset, parts[1].number(kMaxElements));
  if (parts.size() == 3) {
    RAILCCL_ASSIGN(const uint64_t owner, parts[2].number(ranks - 1));
    slice.owner = static_cast<int>(owner);
  }
  return slice;
}

Result<uint16_t> parse_slices(const Place& step, std::string_view key, uint64_t ranks,
                              Schedule& schedule) {
  RAILCCL_ASSIGN(const Place list, step.at(key));
  RAILCCL_ASSIGN(const std::vector<Place> places, list.elements(UINT16_MAX));
  for (const Place& place : places) {
    RAILCCL_ASSIGN(const Slice slice, parse_slice(place, ranks));
    schedule.slices.push_back(slice);
  }
  return static_cast<uint16_t>(places.size());
}

Result<Step> parse_step(const Place& place, uint64_t ranks, Schedule& schedule) {
  Step step;
  RAILCCL_ASSIGN(const Place action, place.at("do"));
  RAILCCL_ASSIGN(const size_t kind, action.one_of(kStepNames));
  step.kind = static_cast<StepKind>(kind);
  const bool notification = step.kind == StepKind::kSignal || step.kind == StepKind::kWait;
  if (notification) {
    RAILCCL_TRY(place.allow_keys({"do", "peer", "tag", "previous_lap"}));
  } else if (step.kind == StepKind::kPut) {
    RAILCCL_TRY(place.allow_keys({"do", "peer", "tag", "count", "from", "to"}));
  } else {
    RAILCCL_TRY(place.allow_keys({"do", "count", "from", "to", "final"}));
  }
  if (notification || step.kind == StepKind::kPut) {
    RAILCCL_ASSIGN(const uint64_t peer, number_at(place, "peer", ranks - 1));
    RAILCCL_ASSIGN(const uint64_t tag, number_at(place, "tag", kMaxTags - 1));
    step.peer = static_cast<int>(peer);
    step.tag = static_cast<uint32_t>(tag);
  }
  RAILCCL_ASSIGN(step.previous_lap, flag_at(place, "previous_lap"));
  RAILCCL_ASSIGN(step.final, flag_at(place, "final"));
  if (notification) return step;
  step.first_slice = static_cast<uint32_t>(schedule.slices.size());
  RAILCCL_ASSIGN(step.count, number_at(place, "count", kMaxElements));
  RAILCCL_ASSIGN(step.num_dsts, parse_slices(place, "to", ranks, schedule));
  RAILCCL_ASSIGN(step.num_srcs, parse_slices(place, "from", ranks, schedule));
  return step;
}

Result<Schedule> parse_schedule(const Place& place, uint64_t ranks) {
  RAILCCL_TRY(place.allow_keys({"scratch", "steps"}));
  Schedule schedule;
  RAILCCL_ASSIGN(schedule.scratch_elements, number_at(place, "scratch", kMaxElements));
  RAILCCL_ASSIGN(const Place list, place.at("steps"));
  RAILCCL_ASSIGN(const std::vector<Place> steps, list.elements(UINT32_MAX / 2));
  for (const Place& step_place : steps) {
    RAILCCL_ASSIGN(const Step step, parse_step(step_place, ranks, schedule));
    schedule.steps.push_back(step);
  }
  return schedule;
}

Result<Shape> parse_shape(const Place& place) {
  Shape shape;
  std::vector<std::string_view> collectives;
  for (int i = 0; i < static_cast<int>(Collective::kSendRecv); ++i) {
    collectives.push_back(collective_name(static_cast<Collective>(i)));
  }
  RAILCCL_ASSIGN(const Place collective, place.at("collective"));
  RAILCCL_ASSIGN(const size_t index, collective.one_of(collectives));
  shape.collective = static_cast<Collective>(index);
  RAILCCL_ASSIGN(const Place node_list, place.at("nodes"));
  RAILCCL_ASSIGN(const std::vector<Place> nodes, node_list.elements(kMaxRanks));
  if (nodes.empty()) return node_list.expected("the node of each rank");
  std::vector<int> node_ids;
  for (const Place& node : nodes) {
    RAILCCL_ASSIGN(const uint64_t id, node.number(kMaxRanks));
    node_ids.push_back(static_cast<int>(id));
  }
  shape.layout = std::make_shared<const Layout>(make_layout(node_ids));
  RAILCCL_ASSIGN(const uint64_t root, number_at(place, "root", nodes.size() - 1));
  shape.root = static_cast<int>(root);
  RAILCCL_ASSIGN(shape.block, number_at(place, "block", kMaxElements / nodes.size()));
  RAILCCL_ASSIGN(shape.piece, number_at(place, "piece", shape.block));
  shape.max_piece = shape.piece;
  RAILCCL_ASSIGN(shape.in_place, flag_at(place, "in_place"));
  RAILCCL_ASSIGN(shape.direct, flag_at(place, "direct"));
  return shape;
}

// The first key that an object has twice is remembered; JSON libraries keep one of them silently.
class RepeatedKeys {
 public:
  bool operator()(int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open_.emplace_back();
    if (event == Json::parse_event_t::object_end) open_.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto key = parsed.get<std::string>();
      if (!open_.back().insert(key).second && first_.empty()) first_ = key;
    }
    return true;
  }
  const std::string& first() const { return first_; }

 private:
  std::vector<std::set<std::string>> open_;
  std::string first_;
};

Result<Json> parse_json(std::string_view text) {
  RepeatedKeys repeated;
  Json json;
  try {  // the library's only way to say where the text is wrong
    json = Json::parse(text, std::ref(repeated));
  } catch (const Json::exception& failure) {
    return error(Code::kInvalidArgument, "not JSON: {}", failure.what());
  }
  if (repeated.first().empty()) return json;
  return error(Code::kInvalidArgument, "key \"{}\" twice in one object", repeated.first());
}

}  // namespace

std::string write_schedules(const ScheduleSet& set) {
  const Shape& shape = set.shape;
  Json json;
  json["format"] = kFormat;
  json["collective"] = collective_name(shape.collective);
  json["nodes"] = shape.layout->node_of;
  json["root"] = shape.root;
  json["block"] = shape.block;
  json["piece"] = shape.piece;
  json["in_place"] = shape.in_place;
  json["direct"] = shape.direct;
  json["ranks"] = Json::array();
  for (const Schedule& schedule : set.ranks) json["ranks"].push_back(to_json(schedule));
  return json.dump(1) + "\n";
}

Result<ScheduleSet> parse_schedules(std::string_view text) {
  RAILCCL_ASSIGN(const Json json, parse_json(text));
  const Place file(json, "");
  RAILCCL_TRY(file.allow_keys(
      {"format", "collective", "nodes", "root", "block", "piece", "in_place", "direct", "ranks"}));
  RAILCCL_ASSIGN(const Place format, file.at("format"));
  if (const auto known = format.one_of({&kFormat, 1}); !known) return Error(known.error());
  ScheduleSet set;
  RAILCCL_ASSIGN(set.shape, parse_shape(file));
  RAILCCL_ASSIGN(const Place list, file.at("ranks"));
  RAILCCL_ASSIGN(const std::vector<Place> ranks, list.elements(kMaxRanks));
  const size_t wanted = set.shape.layout->node_of.size();
  if (ranks.size() != wanted) {
    return error(Code::kInvalidArgument, "ranks: {} schedules for {} nodes entries", ranks.size(),
                 wanted);
  }
  for (const Place& place : ranks) {
    RAILCCL_ASSIGN(Schedule schedule, parse_schedule(place, ranks.size()));
    set.ranks.push_back(std::move(schedule));
  }
  return set;
}

Result<ScheduleSet> read_schedules(std::string_view text) {
  RAILCCL_ASSIGN(ScheduleSet set, parse_schedules(text));
  if (const auto counts = verify(set); !counts) return Error(counts.error());
  return set;
}

}  // namespace railccl
