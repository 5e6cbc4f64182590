// ncclConfig_t read with respect to the version of the header that the caller was built with. Pure.
#pragma once

#include <string>

#include "include/railccl/nccl.h"
#include "src/base/status.h"

namespace railccl {

struct CommConfig {
  bool blocking = true;
  int max_channels = 0;  // 0: the library decides
  std::string net_name;
  std::string comm_name;
};

// `config` may be null (defaults). Errors name the field.
Result<CommConfig> parse_config(const ncclConfig_t* config, std::string_view function);

}  // namespace railccl
