// One rail against its siblings or its thresholds. Pure; for verdict.cc.
#pragma once

#include "perftest/fabric_check/causes.h"
#include "perftest/fabric_check/verdict.h"

namespace railccl::perftest::fabric {

RailSummary summarize(const Matrix& matrix, const RailThresholds& thresholds, double tolerance);

// Ways that were measured or tried; bad below the limit, above the latency allowed, or not to be
// measured at all.
Ways bad_ways(const Matrix& matrix, double limit_gbps, const RailThresholds& thresholds);

// Rails whose best ways are far below those of the fastest rail, and have no minimum of their own.
std::vector<Finding> slow_planes(const Fabric& fabric, const Thresholds& thresholds);

// What the bad ways of a rail come from.
std::vector<Finding> explain_rail(const Fabric& fabric, int rail, const RailSummary& summary,
                                  const Thresholds& thresholds);

// Rails that are where the others have another one, by their subnets.
std::vector<Finding> crossed_rails(const Fabric& fabric);

}  // namespace railccl::perftest::fabric
