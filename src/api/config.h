// ncclConfig_t read with respect to the version of the header that the caller was built with. Pure.
#pragma once

#include <optional>
#include <string>

#include "include/railccl/nccl.h"
#include "src/base/status.h"
#include "src/core/comm_options.h"

namespace railccl {

struct CommConfig {
  bool blocking = true;
  ChannelBounds channels;             // minCTAs, maxCTAs
  std::optional<TransportKind> only;  // netName
  std::string comm_name;
};

// `config` may be null (defaults). Errors name the field.
Result<CommConfig> parse_config(const ncclConfig_t* config, std::string_view function);

}  // namespace railccl
