// The JSON file of fabric_check (docs/fabric-validation.md). Pure.
#pragma once

#include <nlohmann/json.hpp>

#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/verdict.h"

namespace railccl::perftest::fabric {

nlohmann::ordered_json report_json(const Fabric& fabric, const Verdict& verdict);

}  // namespace railccl::perftest::fabric
