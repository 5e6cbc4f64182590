// How a communicator behaves: the settings that concern it, as numbers. Made from Settings in one
// place, so that tests can make it by hand. Pure data.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/settings.h"
#include "src/base/status.h"
#include "src/compute/device.h"
#include "src/core/bootstrap.h"
#include "src/core/peers.h"
#include "src/core/topology.h"
#include "src/core/tuner.h"
#include "src/core/user_schedule.h"
#include "src/core/waiting_policy.h"

namespace railccl {

// 0: not said.
struct ChannelBounds {
  int min = 0;
  int max = 0;
};

struct CommOptions {
  BootstrapOptions bootstrap;  // rank, ranks and host label are filled in at the start
  PeersOptions peers;          // rank is filled in at the start
  std::string host_id;
  int ranks_per_node = 0;              // 0: all of a machine
  bool share_memory = true;            // ranks of a node use shared memory
  bool attach_memory = true;           // and cross-memory attach
  uint64_t eager_bytes = 32768;        // puts up to this travel as messages
  uint64_t scratch_bytes = 0;          // per rank
  uint64_t channel_scratch_bytes = 0;  // if not 0, scratch_bytes is that times max_channels
  uint64_t piece_bytes = 0;            // 0: chosen
  int depth = 4;
  int min_channels = 1;
  int max_channels = 2;
  std::optional<TransportKind> only;                  // rails of this transport only (netName)
  std::shared_ptr<const UserSchedule> user_schedule;  // null: none
  std::vector<std::vector<std::string>> allowed;      // algorithms by Collective; empty: all
  Retune retune = Retune::kExact;                     // what follows when rails change
  WaitMode wait_mode = WaitMode::kAdaptive;
  TimeNs spin_ns = 0;          // kAdaptive, before a sleep
  uint64_t staging_bytes = 0;  // of a slot of pinned memory, for calls on GPU memory
  bool device_peers = true;    // ranks of a node reach each other's GPU memory
  DeviceOptions device;
  std::shared_ptr<const Topology> topology;  // null: not known
  bool predict = false;  // what the cost model expects stands beside what was measured
  TimeNs stall_report_ns =
      0;  // an operation without progress for so long is described in the log; 0: never
  ChannelBounds environment_channels;  // what the settings say, and so the config cannot change
  uint64_t configuration = 0;          // hash of what ranks must agree on
};

Result<CommOptions> make_comm_options(const Settings& settings);

// For Engine::wait: how long a caller polls before it sleeps. `crowded`: more ranks of this node
// than cores.
TimeNs caller_spin_ns(const CommOptions& options, bool crowded);

// Channels as the settings and, where they say nothing, the config (minCTAs, maxCTAs) want them.
Status bound_channels(CommOptions& options, const ChannelBounds& config);

}  // namespace railccl
