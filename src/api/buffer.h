// The buffers of calls. Any thread.
#pragma once

#include <string_view>

#include "src/base/status.h"

namespace railccl {

// An error that names the argument when `address` is memory of a GPU.
Status check_host_memory(const void* address, std::string_view name, std::string_view function);

}  // namespace railccl
