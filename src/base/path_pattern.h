// File names in settings: %h is the host name, %p the process id, %r the rank where there is one,
// %% a percent sign; anything else stays as it is. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace railccl {

std::string expand_path(std::string_view pattern);
std::string expand_path(std::string_view pattern, int rank);

// Of this machine, up to the first dot, as NCCL prints it; "unknown" when it cannot be read.
const std::string& host_name();

}  // namespace railccl
