// The machine and its rails as JSON and text, for railccl_explain and railccl_info. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "src/core/topology.h"
#include "transport/rail.h"

namespace railccl {

nlohmann::json machine_as_json(const MachineShape& shape);
std::string machine_as_text(const nlohmann::json& machine);

nlohmann::json rail_as_json(const RailInfo& info, const PciPlace& place);
std::string rail_as_text(const nlohmann::json& rail);

}  // namespace railccl
