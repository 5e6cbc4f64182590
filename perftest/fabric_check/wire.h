// Commands and answers between rank 0 and the others as JSON, and the values in them. Documents
// come from ranks of the same program; what is missing in one is an error, never a crash.
#pragma once

#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/lines.h"
#include "perftest/fabric_check/pair_test.h"

namespace railccl::perftest::fabric {

void to_json(Json& json, const Rail& rail);
void from_json(const Json& json, Rail& rail);
void to_json(Json& json, const PairValue& value);
void from_json(const Json& json, PairValue& value);
void to_json(Json& json, const PairSide& side);
void from_json(const Json& json, PairSide& side);
void to_json(Json& json, const CollectiveResult& result);
void from_json(const Json& json, CollectiveResult& result);
void to_json(Json& json, const DrillResult& result);
void from_json(const Json& json, DrillResult& result);

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
