// rail_perf's text output. Pure: every function returns whole lines.
#pragma once

#include <string>

#include "perftest/rail_perf/options.h"
#include "perftest/rail_perf/result.h"

namespace railccl::perftest::railperf {

// Hosts, settings, and the rails with the state in which they were found.
std::string head(const Report& report, const RailPerfOptions& options);

// "rail 0: eth0 - eth0 (tcp)" above the tables of a link, or why there are none.
std::string link_head(const Report& report, const LinkResult& link);
std::string check_line(const CheckResult& check);

std::string bandwidth_head(const Report& report, const LinkResult& link,
                           const Measurements& measure);
std::string bandwidth_line(const BandwidthResult& result, const LinkResult& link,
                           const Measurements& measure);
std::string latency_head();
std::string latency_line(const LatencyResult& result);
std::string rate_head();
std::string rate_line(const RateResult& result);

// What the rails of a link went through, if anything.
std::string incidents(const Report& report, const LinkResult& link);
// The last lines: what is wrong, or that nothing is.
std::string foot(const Report& report);

}  // namespace railccl::perftest::railperf
