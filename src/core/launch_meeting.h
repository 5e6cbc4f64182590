// Ranks that meet by what their launcher left in the environment, without passing an id. Any
// thread.
#pragma once

#include "src/base/settings.h"
#include "src/base/status.h"
#include "src/core/bootstrap.h"
#include "src/core/launch_env.h"

namespace railccl {

// This process's environment. `instance`: of several meetings that one process makes so, in the
// same order on all ranks: 0, 1, ...
Result<LaunchEnv> read_own_launch_env(const Settings& settings, int instance);

// Every rank derives the same id; rank 0 serves it from then on.
Result<UniqueIdBytes> launch_unique_id(const LaunchEnv& launch, const BootstrapOptions& options);

}  // namespace railccl
