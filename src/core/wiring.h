// The one place that names concrete transports. Any thread; slow.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/base/settings.h"
#include "src/base/status.h"
#include "transport/rail.h"

namespace railccl {

// The transports whose libraries are there: "verbs", "ucx", "tcp".
std::vector<std::string> usable_transports();

// The rails that the settings ask for, in their order.
Result<std::vector<std::unique_ptr<Rail>>> open_rails(const Settings& settings);

}  // namespace railccl
