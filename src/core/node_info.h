// What a rank tells all others at the bootstrap: where it runs, which rails it has, how it is
// configured. Compact: a few dozen bytes and one entry per rail; bounded and checked when it
// arrives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/base/status.h"
#include "transport/rail.h"

namespace railccl {

struct RailSummary {
  TransportKind transport = TransportKind::kTcp;
  uint8_t index = 0;                 // position in the owner's list
  uint32_t megabits_per_second = 0;  // 0: unknown
  uint32_t network = 0;              // hash of the subnet, 0: unknown; only a hint
  uint8_t distance = 0;              // PciDistance from the owner's cores; 0: near or unknown
};

struct NodeInfo {
  uint64_t node_id = 0;  // equal: ranks share memory
  uint32_t pid = 0;
  uint64_t configuration = 0;  // hash of the settings on which ranks must agree
  bool can_share = true;       // shared memory inside the node is allowed
  std::string host;            // at most 63 bytes, for messages
  std::vector<RailSummary> rails;
};

std::vector<std::byte> pack(const NodeInfo& info);
Result<NodeInfo> unpack_node_info(std::span<const std::byte> bytes);

// The node of each rank, numbered from 0: ranks of one node_id that may share memory, at most
// `ranks_per_node` of them (consecutive ones of a machine; 0: any number). Pure.
std::vector<int> number_nodes(std::span<const NodeInfo> infos, int ranks_per_node);

// This machine, as far as processes can share memory: boot id, network namespace and, if given,
// `host_id` (RAILCCL_HOSTID) instead of them.
uint64_t this_node_id(const std::string& host_id);
std::string this_host_name();

}  // namespace railccl
