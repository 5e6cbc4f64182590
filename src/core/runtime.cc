#include "src/core/runtime.h"

#include <fmt/format.h>

#include "src/base/log.h"
#include "src/base/process_exit.h"
#include "src/base/setting.h"
#include "src/base/trace.h"
#include "src/core/wiring.h"

namespace railccl {
namespace {

// Settings of what is not built yet.
void warn_of_unserved(const Settings& settings) {
  std::string names;
  for (const Setting key : {Setting::kNetGdrLevel, Setting::kDmabufEnable}) {
    if (!settings.is_set(key)) continue;
    names += fmt::format("{}RAILCCL_{} ({})", names.empty() ? "" : ", ", setting_spec(key).name,
                         settings.value(key).origin);
  }
  if (names.empty()) return;
  RAILCCL_WARN(Subsys::kEnv,
               "without effect, since memory of GPUs goes to the network through the host's: {}",
               names);
}

// For operations under way and for what has to get through, when the process ends.
constexpr TimeNs kExitTimeout = kSecond;

Engine* engine_at_exit = nullptr;

void depart_at_exit() { engine_at_exit->depart(kExitTimeout); }

}  // namespace

Result<Runtime*> Runtime::get() {
  // Never destroyed: threads of the caller may outlive static destructors, and the engine's thread
  // holds no resource that the end of the process does not free.
  static const auto* const runtime = new Result<std::unique_ptr<Runtime>>(make());
  if (!*runtime) return Error(runtime->error());
  return (*runtime)->get();
}

Result<std::unique_ptr<Runtime>> Runtime::make() {
  RAILCCL_ASSIGN(Settings settings, load_settings(process_settings_source()));
  RAILCCL_TRY(configure_log(settings));
  configure_trace(settings);
  warn_of_unserved(settings);
  if (settings.get_choice<DeviceChoice>(Setting::kDevice) == DeviceChoice::kCuda &&
      !load_gpu_driver()) {
    return settings.bad_value(Setting::kDevice,
                              "auto or host: this machine has no CUDA driver (libcuda.so.1)");
  }
  std::unique_ptr<Runtime> runtime(new Runtime(std::move(settings)));
  RAILCCL_ASSIGN(runtime->comm_options_, make_comm_options(runtime->settings_));
  RAILCCL_ASSIGN(Topology topology, Topology::create(runtime->settings_));
  runtime->comm_options_.topology = std::make_shared<const Topology>(std::move(topology));
  RAILCCL_ASSIGN(auto rails, open_rails(runtime->settings_));
  RAILCCL_ASSIGN(runtime->engine_,
                 Engine::create(std::move(rails), {.spin_ns = runtime->comm_options_.spin_ns}));
  RAILCCL_ASSIGN(runtime->trace_output_, TraceOutput::create(runtime->settings_));
  RAILCCL_ASSIGN(runtime->metrics_output_, MetricsOutput::create(runtime->settings_));
  RAILCCL_ASSIGN(runtime->explain_output_, ExplainOutput::create(runtime->settings_));
  runtime->drive(runtime->trace_output_.get());
  runtime->drive(runtime->metrics_output_.get());
  // After the trace's own, and so called before it: what goes on at exit is in the trace.
  engine_at_exit = runtime->engine_.get();
  call_at_exit<depart_at_exit>();
  return runtime;
}

void Runtime::drive(EngineClient* client) {
  if (client == nullptr) return;
  const DriverLock held(*engine_);
  engine_->add_client(client);
}

}  // namespace railccl
