// What communicators of this process share: settings read once, rails, the progress engine. Made on
// first use, kept until the process ends. Any thread.
#pragma once

#include <memory>
#include <vector>

#include "src/base/settings.h"
#include "src/base/status.h"
#include "src/core/comm_options.h"
#include "src/core/communicator.h"
#include "src/core/engine.h"
#include "src/core/explain_output.h"
#include "src/core/metrics_output.h"
#include "src/core/trace_output.h"
#include "transport/rail.h"

namespace railccl {

class Runtime {
 public:
  // The error of the first try sticks: a setting that does not parse, no rail that was asked for.
  static Result<Runtime*> get();

  const Settings& settings() const { return settings_; }
  const CommOptions& comm_options() const { return comm_options_; }
  const std::shared_ptr<Engine>& engine() const { return engine_; }
  CommOutputs outputs() const {
    return {.metrics = metrics_output_.get(), .explain = explain_output_.get()};
  }

 private:
  explicit Runtime(Settings settings) : settings_(std::move(settings)) {}
  static Result<std::unique_ptr<Runtime>> make();

  Settings settings_;
  CommOptions comm_options_;
  std::shared_ptr<Engine> engine_;
  void drive(EngineClient* client);  // may be null
  // Null where not wanted.
  std::unique_ptr<TraceOutput> trace_output_;
  std::unique_ptr<MetricsOutput> metrics_output_;
  std::unique_ptr<ExplainOutput> explain_output_;
};

}  // namespace railccl
