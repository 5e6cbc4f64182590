// The page of fabric_check: one file that needs nothing else, the matrices as heat maps. Pure.
#pragma once

#include <string>

#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/verdict.h"

namespace railccl::perftest::fabric {

// The document of report_json inside a page that draws it.
std::string report_html(const Fabric& fabric, const Verdict& verdict);

}  // namespace railccl::perftest::fabric
