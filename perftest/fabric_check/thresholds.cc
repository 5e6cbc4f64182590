#include "perftest/fabric_check/thresholds.h"

#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

namespace railccl::perftest::fabric {
namespace {

using Json = nlohmann::json;
constexpr std::string_view kFormat = "railccl-fabric-thresholds-1";
constexpr int kMostRails = 64;

// A part of the document, with its place for errors: "t.json: rails.0.min_gbps".
class Part {
 public:
  Part(const Json& value, std::string place) : value_(value), place_(std::move(place)) {}

  Outcome<void> check_keys(const std::vector<std::string_view>& allowed) const {
    if (!value_.is_object()) return bad("is not an object");
    for (const auto& [key, unused] : value_.items()) {
      bool known = false;
      std::string names;
      for (const std::string_view name : allowed) {
        known = known || key == name;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
      }
      if (!known) return at(key).bad(fmt::format("is not known, allowed are {}", names));
    }
    return {};
  }

  bool has(std::string_view key) const { return value_.contains(key); }
  Part at(const std::string& key) const { return {value_.at(key), place_ + "." + key}; }
  const Json& value() const { return value_; }

  // A number from `least` to `most`, into `result`, when the key is there.
  template <typename T>
  Outcome<void> number(const std::string& key, double least, double most, T& result) const {
    if (!has(key)) return {};
    const Json& given = value_.at(key);
    const double value = given.is_number() ? given.get<double>() : std::nan("");
    if (!(value >= least && value <= most)) {
      return at(key).bad(
          fmt::format("is {}, allowed is a number from {} to {}", given.dump(), least, most));
    }
    result = value;
    return {};
  }

  tl::unexpected<Failure> bad(const std::string& what) const {
    return failure(Exit::kUsage, "{} {}", place_, what);
  }

 private:
  const Json& value_;
  std::string place_;
};

Outcome<void> read_rail(const Part& part, RailThresholds& rail) {
  PERFTEST_TRY(part.check_keys({"min_gbps", "max_latency_us"}));
  PERFTEST_TRY(part.number("min_gbps", 0, 1e6, rail.min_gbps));
  return part.number("max_latency_us", 0, 1e9, rail.max_latency_us);
}

Outcome<void> read_rails(const Part& part, Thresholds& thresholds) {
  if (!part.value().is_object()) return part.bad("is not an object");
  for (const auto& [key, unused] : part.value().items()) {
    if (key == "*") {
      PERFTEST_TRY(read_rail(part.at(key), thresholds.other_rails));
      continue;
    }
    int rail = -1;
    const auto end = std::from_chars(key.data(), key.data() + key.size(), rail);
    if (end.ec != std::errc() || end.ptr != key.data() + key.size() || rail < 0 ||
        rail >= kMostRails) {
      return part.at(key).bad(
          fmt::format("is not a rail: give its number, \"0\" to \"{}\", or \"*\"", kMostRails - 1));
    }
    PERFTEST_TRY(read_rail(part.at(key), thresholds.rails[rail]));
  }
  return {};
}

Outcome<void> read_counters(const Part& part, Thresholds& thresholds) {
  if (!part.value().is_object()) return part.bad("is not an object");
  for (const auto& [key, unused] : part.value().items()) {
    double most = 0;
    PERFTEST_TRY(part.number(key, 0, 1e18, most));
    thresholds.counters[key] = static_cast<uint64_t>(most);
  }
  return {};
}

Outcome<void> read_single(const Part& root, const std::string& key, const std::string& name,
                          double most, auto& result) {
  if (!root.has(key)) return {};
  PERFTEST_TRY(root.at(key).check_keys({name}));
  return root.at(key).number(name, 0, most, result);
}

Outcome<Thresholds> read_document(const Part& root) {
  PERFTEST_TRY(root.check_keys(
      {"format", "tolerance", "rails", "all_rails", "all_at_once", "drill", "counters"}));
  if (!root.has("format") || root.value()["format"] != kFormat) {
    return root.bad(fmt::format("has no \"format\": \"{}\"", kFormat));
  }
  Thresholds thresholds;
  PERFTEST_TRY(root.number("tolerance", 0.01, 0.99, thresholds.tolerance));
  if (root.has("rails")) PERFTEST_TRY(read_rails(root.at("rails"), thresholds));
  PERFTEST_TRY(read_single(root, "all_rails", "min_gbps", 1e6, thresholds.all_rails_min_gbps));
  PERFTEST_TRY(read_single(root, "all_at_once", "min_share", 1, thresholds.all_at_once_min_share));
  PERFTEST_TRY(read_single(root, "drill", "max_stall_ms", 1e9, thresholds.drill_max_stall_ms));
  if (root.has("counters")) PERFTEST_TRY(read_counters(root.at("counters"), thresholds));
  return thresholds;
}

}  // namespace

const RailThresholds& Thresholds::of_rail(int rail) const {
  const auto found = rails.find(rail);
  return found == rails.end() ? other_rails : found->second;
}

Outcome<Thresholds> parse_thresholds(std::string_view text, std::string_view source) {
  try {
    const Json document = Json::parse(text);
    return read_document(Part(document, std::string(source)));
  } catch (const Json::parse_error& error) {
    return failure(Exit::kUsage, "{} is not JSON: {}", source, error.what());
  }
}

Outcome<Thresholds> read_thresholds(const std::string& path) {
  std::ifstream file(path);
  if (!file) return failure(Exit::kUsage, "cannot read {}", path);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_thresholds(text.str(), path);
}

}  // namespace railccl::perftest::fabric
