#include "src/core/own_node.h"

#include <unistd.h>

namespace railccl {

NodeInfo own_node_info(const CommOptions& options, std::span<Rail* const> rails) {
  NodeInfo info{.node_id = this_node_id(options.host_id),
                .pid = static_cast<uint32_t>(getpid()),
                .configuration = options.configuration,
                .can_share = options.share_memory,
                .host = this_host_name(),
                .rails = {}};
  uint8_t index = 0;
  for (const Rail* rail : rails) {
    const RailInfo& rail_info = rail->info();
    const uint8_t position = index++;
    if (options.only && rail_info.transport != *options.only) continue;
    const PciPlace place =
        options.topology ? options.topology->place_of(rail_info.pci_address) : PciPlace{};
    info.rails.push_back(
        {.transport = rail_info.transport,
         .index = position,
         .megabits_per_second = static_cast<uint32_t>(rail_info.bytes_per_second / 125000),
         .distance = static_cast<uint8_t>(place.distance)});
  }
  return info;
}

}  // namespace railccl
