// What fabric_check prints. Pure.
#pragma once

#include <string>

#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/verdict.h"

namespace railccl::perftest::fabric {

// Everything: nodes, matrices of up to 16 nodes, summaries, findings, verdict.
std::string report_text(const Fabric& fabric, const Verdict& verdict);
// The verdict and what is against it: nothing when it is a pass.
std::string quiet_text(const Fabric& fabric, const Verdict& verdict);

}  // namespace railccl::perftest::fabric
