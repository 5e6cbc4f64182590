// The verbs transport's way in: find the RDMA ports of this machine, open one as a rail. Everything
// else in this folder is internal.
//
//   RAILCCL_ASSIGN(VerbsDiscovery found, discover_verbs_rails({.hca_spec = "mlx5"}));
//   RAILCCL_ASSIGN(std::unique_ptr<Rail> rail, open_verbs_rail(found.rails[0], {}));
//
// Any thread may call these; the Rail belongs to one thread at a time (transport/rail.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "transport/rail.h"
#include "transport/verbs/gid_selection.h"
#include "transport/verbs/verbs_api.h"

namespace railccl {

struct VerbsDiscoveryOptions {
  std::string hca_spec;  // NCCL_IB_HCA, see hca_selection.h
  verbs::GidWish gid;
};

struct VerbsRailConfig {
  RailInfo info;
  std::string device;
  uint8_t port = 1;
};

struct VerbsDiscovery {
  int devices = 0;                     // of any kind and state
  std::vector<VerbsRailConfig> rails;  // ports that are active, in order
  // For the log, and the reasons when there is no rail: ports that are down, devices that may not
  // be opened, items that match nothing.
  std::vector<std::string> warnings;
};

// An error: libibverbs is not there, or what was asked for by name cannot be had.
Result<VerbsDiscovery> discover_verbs_rails(const VerbsDiscoveryOptions& options);
Result<VerbsDiscovery> discover_verbs_rails(const VerbsDiscoveryOptions& options,
                                            const verbs::VerbsApi& api);

enum class RelaxedOrdering : uint8_t { kOff, kOn, kWhereOffered };

struct VerbsRailOptions {
  verbs::GidWish gid;
  int ack_timeout = 14;  // 4.096 us * 2^n without an acknowledgement, then again
  int retry_count = 7;
  int queue_pairs = 1;  // per endpoint, 1 to 32; the smaller number of both sides counts
  int traffic_class = 0;
  int service_level = 0;
  int partition_index = 0;
  RelaxedOrdering relaxed_ordering = RelaxedOrdering::kWhereOffered;
  TimeNs connect_timeout_ns = 20 * kSecond;
  TimeNs farewell_timeout_ns = 100 * kMillisecond;  // of an idle endpoint's word to its peer
  TimeNs drain_timeout_ns = kSecond;  // of a closed endpoint's work requests, then without them
  size_t max_outstanding_puts = 128;  // per queue pair
};

Result<std::unique_ptr<Rail>> open_verbs_rail(const VerbsRailConfig& config,
                                              const VerbsRailOptions& options);
Result<std::unique_ptr<Rail>> open_verbs_rail(const VerbsRailConfig& config,
                                              const VerbsRailOptions& options,
                                              const verbs::VerbsApi& api);

}  // namespace railccl
