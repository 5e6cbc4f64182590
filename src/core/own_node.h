// What this rank says of itself and its rails at the bootstrap. Any thread.
#pragma once

#include <span>

#include "src/core/comm_options.h"
#include "src/core/node_info.h"
#include "transport/rail.h"

namespace railccl {

// `rails` by index, as the peers will know them.
NodeInfo own_node_info(const CommOptions& options, std::span<Rail* const> rails);

}  // namespace railccl
