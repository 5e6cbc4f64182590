// Commands and answers between rank 0 and the others as JSON, and the values in them. Documents
// come from ranks of the same program; what is missing in one is an error, never a crash.
#pragma once

#include "perftest/fabric_check/at_once_test.h"
#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/lines.h"
#include "perftest/fabric_check/pair_test.h"

namespace railccl::perftest::fabric {

// What a leader says of its node, and of all nodes as the library sees them.
struct NodeRanks {
  std::string host;
  std::vector<int> ranks;
};
struct Description {
  std::vector<NodeRanks> nodes;
  std::vector<Rail> rails;
};

// A number; one that is no state is refused, as below.
void to_json(Json& json, PairState state);
void from_json(const Json& json, PairState& state);

// Objects with the members by name. Reading throws Json::exception where one is missing or has
// another type; a member that is not named here is ignored.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Rail, name, transport, address, subnet)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NodeRanks, host, ranks)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Description, nodes, rails)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(AtOnceSide, gbps, wrong)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PairValue, state, gbps, latency_us, wrong, error)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PairSide, rails, all_rails)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CollectiveResult, name, bytes, time_us, bus_gbps, wrong)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DrillResult, rail, operations, wrong, usual_ms, stall_ms,
                                   went_down, came_back, back_after_ms, replayed_bytes, left_out)

Json id_as_json(const ncclUniqueId& id);
Outcome<ncclUniqueId> id_from_json(const Json& json);

// An answer is {"ok": value}, or {"error": text}.
Json as_answer(const Outcome<Json>& outcome);

// The value of an answer as a T, or why there is none.
template <typename T>
Outcome<T> from_answer(const Json& answer) {
  try {
    if (answer.contains("error")) {
      return failure(Exit::kLibrary, "{}", answer.at("error").get<std::string>());
    }
    return answer.at("ok").get<T>();
  } catch (const Json::exception& error) {
    return failure(Exit::kLibrary, "an answer that makes no sense: {}", error.what());
  }
}

}  // namespace railccl::perftest::fabric
