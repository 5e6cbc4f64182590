// Which RDMA ports become rails, in which order: NCCL_IB_HCA's syntax as a pure function.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/status.h"

namespace railccl::verbs {

struct HcaPort {
  std::string device;  // "mlx5_0"
  int port = 1;

  std::string name() const;  // "mlx5_0:1"
};

struct HcaSelection {
  std::vector<size_t> ports;          // indices, in the order of the rails
  std::vector<std::string> warnings;  // items that match nothing
};

// `spec`: [^][=]device[:port],...  `^`: all but these; `=`: whole names, not prefixes. Ports come
// in the order of the items, then of `ports`; empty: all. An exact item that names no port is an
// error.
Result<HcaSelection> select_ports(std::string_view spec, std::span<const HcaPort> ports);

}  // namespace railccl::verbs
