// Which of a port's GIDs its queue pairs use: a pure choice, and the text of a GID.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "src/base/status.h"

namespace railccl::verbs {

constexpr uint32_t kMaxGidIndex = 255;  // eight bits in ibv_global_route

using GidBytes = std::array<uint8_t, 16>;

enum class GidType : uint8_t { kInfiniband, kRoceV1, kRoceV2 };

struct GidEntry {
  uint32_t index = 0;
  GidBytes gid{};
  GidType type = GidType::kInfiniband;
  bool operator==(const GidEntry&) const = default;
};

struct GidWish {
  int index = -1;         // NCCL_IB_GID_INDEX; -1: choose
  bool ipv6 = false;      // NCCL_IB_ADDR_FAMILY
  std::string range;      // NCCL_IB_ADDR_RANGE, "10.0.0.0/8"; empty: any
  int roce_version = 2;   // NCCL_IB_ROCE_VERSION_NUM
  bool ethernet = false;  // the port's link layer
};

bool is_ipv4_mapped(const GidBytes& gid);
bool is_link_local(const GidBytes& gid);
std::string gid_text(const GidBytes& gid);  // "10.1.0.1" or "fe80::1"

// On InfiniBand the first GID unless an index is given. On Ethernet, of those within the range:
// the wanted RoCE version before the other, then the wanted family before the other, then routable
// before link-local, then the lowest index. Indices above
// kMaxGidIndex, which no path can name, are refused or passed over. The error lists what there is.
Result<GidEntry> choose_gid(std::span<const GidEntry> entries, const GidWish& wish);

}  // namespace railccl::verbs
