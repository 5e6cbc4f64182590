// What a communicator would do and why, for people and for programs. Slow path; any thread.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "src/base/status.h"
#include "src/core/call.h"
#include "src/core/communicator.h"

namespace railccl {

// One call: the chosen algorithm, its pieces and predicted time, and what was rejected and why.
Result<nlohmann::json> explain_call(const Communicator& communicator, const Call& call);
// Rails, nodes, memory, and the choice for every collective by size.
Result<nlohmann::json> explain_all(const Communicator& communicator);

std::string explanation_as_text(const nlohmann::json& explanation);

}  // namespace railccl
