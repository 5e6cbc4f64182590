#include "src/core/node_info.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <map>

namespace railccl {
namespace {

constexpr size_t kMaxHostBytes = 63;

struct PackedRail {
  uint8_t transport;
  uint8_t index;
  uint8_t distance;
  uint8_t pad;
  uint32_t megabits_per_second;
  uint32_t network;
};
static_assert(sizeof(PackedRail) == 12);

// | node 8 | configuration 8 | pid 4 | share 1 | host bytes 1 | rails 1 | pad 1 | host | rails 12
// each |
struct PackedHead {
  uint64_t node_id;
  uint64_t configuration;
  uint32_t pid;
  uint8_t can_share;
  uint8_t host_bytes;
  uint8_t rails;
  uint8_t pad;
};
static_assert(sizeof(PackedHead) == 24);

// FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
uint64_t hash(std::string_view text) {
  uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return value;
}

template <typename T>
void append(std::vector<std::byte>& bytes, const T& value) {
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), begin, begin + sizeof value);
}

}  // namespace

std::vector<std::byte> pack(const NodeInfo& info) {
  const std::string host = info.host.substr(0, kMaxHostBytes);
  const size_t rails = std::min(info.rails.size(), kMaxRails);
  std::vector<std::byte> bytes;
  append(bytes, PackedHead{.node_id = info.node_id,
                           .configuration = info.configuration,
                           .pid = info.pid,
                           .can_share = info.can_share,
                           .host_bytes = static_cast<uint8_t>(host.size()),
                           .rails = static_cast<uint8_t>(rails),
                           .pad = 0});
  for (const char c : host) bytes.push_back(static_cast<std::byte>(c));
  for (size_t i = 0; i < rails; ++i) {
    const RailSummary& rail = info.rails[i];
    append(bytes, PackedRail{.transport = static_cast<uint8_t>(rail.transport),
                             .index = rail.index,
                             .distance = rail.distance,
                             .pad = 0,
                             .megabits_per_second = rail.megabits_per_second,
                             .network = rail.network});
  }
  return bytes;
}

Result<NodeInfo> unpack_node_info(std::span<const std::byte> bytes) {
  PackedHead head{};
  if (bytes.size() < sizeof head) {
    return error(Code::kPeerFailed, "node information of {} bytes is too short", bytes.size());
  }
  std::memcpy(&head, bytes.data(), sizeof head);
  const size_t expected = sizeof head + head.host_bytes + head.rails * sizeof(PackedRail);
  if (head.host_bytes > kMaxHostBytes || head.rails > kMaxRails || bytes.size() != expected) {
    return error(Code::kPeerFailed, "node information of {} bytes does not parse", bytes.size());
  }
  NodeInfo info{.node_id = head.node_id,
                .pid = head.pid,
                .configuration = head.configuration,
                .can_share = head.can_share != 0,
                .host = {},
                .rails = {}};
  const auto* host = reinterpret_cast<const char*>(bytes.data() + sizeof head);
  info.host.assign(host, head.host_bytes);
  for (size_t i = 0; i < head.rails; ++i) {
    PackedRail rail{};
    std::memcpy(&rail, bytes.data() + sizeof head + head.host_bytes + i * sizeof rail, sizeof rail);
    if (rail.transport > static_cast<uint8_t>(TransportKind::kSim)) {
      return error(Code::kPeerFailed, "node information names the unknown transport {}",
                   rail.transport);
    }
    info.rails.push_back({.transport = static_cast<TransportKind>(rail.transport),
                          .index = rail.index,
                          .megabits_per_second = rail.megabits_per_second,
                          .network = rail.network,
                          .distance = rail.distance});
  }
  return info;
}

std::vector<int> number_nodes(std::span<const NodeInfo> infos, int ranks_per_node) {
  struct Open {  // the node that the next rank of a machine joins
    int number = 0;
    int ranks = 0;
  };
  std::map<uint64_t, Open> by_machine;
  std::vector<int> numbers;
  int nodes = 0;
  for (const NodeInfo& info : infos) {
    const auto found = info.can_share ? by_machine.find(info.node_id) : by_machine.end();
    const bool joins =
        found != by_machine.end() && (ranks_per_node == 0 || found->second.ranks < ranks_per_node);
    if (joins) {
      ++found->second.ranks;
      numbers.push_back(found->second.number);
      continue;
    }
    if (info.can_share) by_machine[info.node_id] = {.number = nodes, .ranks = 1};
    numbers.push_back(nodes++);
  }
  return numbers;
}

uint64_t this_node_id(const std::string& host_id) {
  if (!host_id.empty()) return hash("host id " + host_id);
  std::string boot_id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id;
  struct stat network {};
  // Abstract sockets wake sleepers inside a node, so its ranks must share a network namespace.
  const bool known = stat("/proc/self/ns/net", &network) == 0;
  return hash(boot_id + ":" + std::to_string(known ? network.st_ino : 0));
}

std::string this_host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown-host";
  return name.data();
}

}  // namespace railccl
