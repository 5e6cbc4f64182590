#include "src/core/launch_meeting.h"

#include "src/base/setting.h"
#include "src/base/settings_source.h"

namespace railccl {

Result<LaunchEnv> read_own_launch_env(const Settings& settings, int instance) {
  const auto lookup = [](std::string_view name) {
    return process_settings_source().variable(name);
  };
  return read_launch_env(lookup, {.comm_id = settings.get_text(Setting::kCommId),
                                  .job_secret = settings.get_text(Setting::kJobSecret),
                                  .instance = instance});
}

Result<UniqueIdBytes> launch_unique_id(const LaunchEnv& launch, const BootstrapOptions& options) {
  RAILCCL_ASSIGN(
      const UniqueIdBytes id,
      derive_unique_id(launch.root_host, {.first = launch.root_port, .count = launch.root_ports},
                       launch.secret));
  if (launch.rank == 0) RAILCCL_TRY(serve_unique_id(id, options));
  return id;
}

}  // namespace railccl
